"""make_lite0.py: writes lite0.json, what PyTorch 2.15 computes for the last block of EfficientNet-Lite0 and its gradients, with
batch normalization by stored and by live statistics. Weights and images follow the formula of `draw` in mod.rs."""

import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

CHANNELS, WIDE, FILTERS = 192, 1152, 320


def draw(shape, seed):
    mask = np.uint64(0xFFFF_FFFF)
    mixed = (np.arange(np.prod(shape), dtype=np.uint64) * np.uint64(0x9E37_79B9) + np.uint64(seed * 0x85EB_CA6B)) & mask
    for _ in range(2):
        mixed = ((mixed ^ (mixed >> np.uint64(16))) * np.uint64(0x045D_9F3B)) & mask
    numbers = ((mixed >> np.uint64(8)).astype(np.float64) + 0.5) / 2**23 - 1
    return torch.from_numpy(numbers.astype(np.float32).reshape(shape))


def summary(tensor):
    """The numbers as a few: their length, their product with a pattern, and the first."""
    numbers = tensor.detach().double().flatten()
    pattern = draw([len(numbers)], 5).double()
    return [numbers.norm().item(), (numbers @ pattern).item(), *numbers[:4].tolist()]


def shapes():
    """Each convolution's weight, then scale, bias, mean and variance of its normalization."""
    for weight in ([WIDE, CHANNELS, 1, 1], [WIDE, 1, 3, 3], [FILTERS, WIDE, 1, 1]):
        yield weight
        for _ in range(4):
            yield weight[:1]


def parameters():
    for at, shape in enumerate(shapes()):
        numbers = draw(shape, at + 1)
        if at % 5 == 0:
            numbers = numbers * np.float32(1 / np.prod(shape[1:]) ** 0.5)
        if at % 5 == 4:
            numbers = numbers.abs() + np.float32(0.3)
        yield numbers.requires_grad_(at % 5 < 3)


def block(x, parameters, live):
    for layer in range(3):
        weight, scale, bias, mean, variance = parameters[layer * 5 : layer * 5 + 5]
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=WIDE if layer == 1 else 1)
        x = F.batch_norm(x, mean.clone(), variance.clone(), scale, bias, training=live, eps=1e-3)
        if layer < 2:
            x = F.relu6(x)
    return x


def main():
    found = {}
    for live in (False, True):
        image = draw([2, CHANNELS, 4, 4], 0).requires_grad_()
        given = list(parameters())
        output = block(image, given, live)
        (output * draw(output.shape, 17)).sum().backward()
        gradients = [summary(tensor.grad) for tensor in given if tensor.requires_grad]
        found["live" if live else "stored"] = [summary(output), summary(image.grad), *gradients]
    Path(__file__).with_name("lite0.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
