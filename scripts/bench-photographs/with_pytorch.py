"""Trains on or evaluates photographs as PyTorch's tutorials do; prints images per second."""

import argparse
import time

import onnxruntime
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def block(inputs: int, filters: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU(), nn.MaxPool2d(2)]


def network(classes: int) -> nn.Module:
    """That of small-cnn.toml."""
    return nn.Sequential(
        *block(3, 32), *block(32, 64), *block(64, 128), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, classes)
    )


class InMemory(Dataset):
    """Decoded images; what is random is drawn anew in every epoch."""

    def __init__(self, folder: ImageFolder):
        self.items, self.transform = [(image, label) for image, label in folder], None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int):
        image, label = self.items[at]
        return self.transform(image), label


def train(args: argparse.Namespace) -> float:
    crops = transforms.Compose([
        transforms.RandomResizedCrop(96, scale=(0.6, 1.0)), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])  # fmt: skip
    if args.in_memory:
        # No larger than needed for the crops, so that neither decoding nor shrinking is part of an epoch.
        data = InMemory(ImageFolder(args.folder, transforms.Resize((112, 112))))
        data.transform = crops
    else:
        data = ImageFolder(args.folder, crops)
    loader = DataLoader(data, batch_size=32, shuffle=True, num_workers=args.workers, drop_last=True, persistent_workers=args.workers > 0)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    model = network(10).to(memory_format=layout).train()
    # One kernel for all parameters: PyTorch's fastest Adam.
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(args.epochs):
        start = time.perf_counter()
        total, correct = 0.0, 0
        for x, y in loader:
            logits = model(x.to(memory_format=layout))
            loss = loss_of(logits, y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.item()
            correct += (logits.argmax(1) == y).sum().item()
        seconds = time.perf_counter() - start
    return len(loader) * 32 / seconds


def drafted(path: str) -> Image.Image:
    """Decodes a JPEG no larger than needed, by Pillow's scaled decoding."""
    image = Image.open(path)
    image.draft("RGB", (224, 224))
    return image.convert("RGB")


def evaluate(args: argparse.Namespace) -> float:
    prepare = transforms.Compose([
        transforms.Resize((224, 224)), transforms.ToTensor(), transforms.Normalize(MEAN, STD),
    ])  # fmt: skip
    torch.set_num_threads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    session.run(None, {name: torch.zeros(32, 3, 224, 224).numpy()})
    data = ImageFolder(args.folder, prepare, **({"loader": drafted} if args.draft else {}))
    start = time.perf_counter()
    correct = 0
    for x, y in DataLoader(data, batch_size=32, num_workers=args.workers):
        correct += (session.run(None, {name: x.numpy()})[0].argmax(1) == y.numpy()).sum()
    return len(data) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--model", help="an ONNX file: evaluate it instead of training")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--in-memory", action="store_true")
    parser.add_argument("--draft", action="store_true")
    args = parser.parse_args()
    print(evaluate(args) if args.model else train(args))


# Workers import this module again where they are not forked.
if __name__ == "__main__":
    main()
