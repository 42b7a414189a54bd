"""Trains one network with PyTorch and prints images per second in the second epoch."""

import argparse
import time

import data
import torch
from torch import nn


def cnn(kernel: int, filters: int) -> nn.Module:
    side = ((28 - 2) // 2 - kernel + 1) // 2
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.BatchNorm2d(32, eps=1e-3, momentum=0.01), nn.MaxPool2d(2), nn.Dropout(0.5),
        nn.Conv2d(32, filters, kernel), nn.ReLU(), nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01), nn.MaxPool2d(2),
        nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(side * side * filters, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def block5() -> nn.Module:
    """VGG16's last block on the features before it, and the recipe's head."""
    convolutions = [layer for _ in range(3) for layer in (nn.Conv2d(512, 512, 3, padding=1), nn.ReLU())]
    return nn.Sequential(
        *convolutions, nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(512, 128), nn.ReLU(), nn.BatchNorm1d(128, eps=1e-3, momentum=0.01), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("network", help="block5, or kernel size x filters such as 5x64")
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    images, labels = map(torch.from_numpy, data.training(args.data, args.images))
    if args.network == "block5":
        model = block5()
        images = torch.randn(args.images, 512, 2, 2).relu()
    else:
        kernel, filters = map(int, args.network.split("x"))
        model = cnn(kernel, filters)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    model = model.to(memory_format=layout).train()
    # One kernel for all parameters: PyTorch's fastest Adam.
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)
    loss_of = nn.CrossEntropyLoss()
    if args.compile:
        model = torch.compile(model)

    for epoch in range(2):
        start = time.perf_counter()
        total, correct = 0.0, 0
        # Full batches only, so that a compiled model is compiled once.
        for batch in torch.randperm(len(images)).split(128)[: len(images) // 128]:
            x = images[batch].contiguous(memory_format=layout)
            y = labels[batch]
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                logits = model(x)
                loss = loss_of(logits, y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.item()
            correct += (logits.argmax(1) == y).sum().item()
        seconds = time.perf_counter() - start
    print(len(images) // 128 * 128 / seconds)


main()
