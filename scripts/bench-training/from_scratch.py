"""ResNet-18 with the stem for small images, trained from scratch by PyTorch, to compare with `kiln run` on the same images.

make IDX-FOLDER FOLDER   writes the first images of each class of MNIST-like files as PNG class folders: 100 to train on, 50 to
                         validate, 200 to test
train FOLDER [--seed N]  trains ten epochs and prints JSON: accuracy on the test images with the weights of the lowest
                         validation loss, and the median seconds of an epoch
"""

import argparse
import copy
import json
import pathlib
import statistics
import time

import numpy
from PIL import Image

COUNTS = {"train": ("train", 0, 100), "validation": ("train", 100, 50), "test": ("t10k", 0, 200)}
# Of ImageNet, as the recipe's `preprocess = "torch"`.
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def make(source: pathlib.Path, folder: pathlib.Path) -> None:
    def idx(name: str) -> numpy.ndarray:
        content = (source / name).read_bytes()
        sizes = numpy.frombuffer(content, ">u4", content[3], 4)
        return numpy.frombuffer(content, numpy.uint8, offset=4 + 4 * content[3]).reshape(sizes)

    for subset, (prefix, first, count) in COUNTS.items():
        images, labels = idx(f"{prefix}-images-idx3-ubyte"), idx(f"{prefix}-labels-idx1-ubyte")
        for label in range(10):
            to = folder / subset / str(label)
            to.mkdir(parents=True, exist_ok=True)
            for index in numpy.flatnonzero(labels == label)[first : first + count]:
                Image.fromarray(images[index]).save(to / f"{index:05}.png")


def train(folder: pathlib.Path, seed: int, threads: int) -> dict:
    import torch
    import torchvision
    from torch import nn

    torch.manual_seed(seed)
    torch.set_num_threads(threads)

    def load(subset: str) -> tuple:
        files = sorted((folder / subset).glob("*/*.png"))
        pixels = numpy.stack([numpy.asarray(Image.open(file).convert("RGB")) for file in files]) / 255.0
        values = torch.tensor((pixels - MEAN) / STD, dtype=torch.float32).permute(0, 3, 1, 2)
        labels = torch.tensor([int(file.parent.name) for file in files])
        return values.contiguous(memory_format=torch.channels_last), labels

    data = {subset: load(subset) for subset in COUNTS}
    model = torchvision.models.resnet18(num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    loss = nn.CrossEntropyLoss()

    @torch.no_grad()
    def evaluate(subset: str) -> tuple[float, float]:
        model.eval()
        scores = torch.cat([model(part) for part in data[subset][0].split(64)])
        labels = data[subset][1]
        return loss(scores, labels).item(), (scores.argmax(1) == labels).float().mean().item()

    best, kept, seconds = float("inf"), None, []
    images, labels = data["train"]
    for _ in range(10):
        start = time.perf_counter()
        model.train()
        for part in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            loss(model(images[part]), labels[part]).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
        found, _ = evaluate("validation")
        if found < best:
            best, kept = found, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return {"seed": seed, "accuracy": evaluate("test")[1], "validation_loss": best, "epoch_seconds": statistics.median(seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("source", type=pathlib.Path)
    making.add_argument("folder", type=pathlib.Path)
    training = commands.add_parser("train")
    training.add_argument("folder", type=pathlib.Path)
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.command == "make":
        make(args.source, args.folder)
    else:
        print(json.dumps(train(args.folder, args.seed, args.threads)))


main()
