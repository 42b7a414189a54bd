"""Compares the losses of two training runs that differ only in rounding."""

import csv
import sys

TOLERANCE = 2e-4  # relative to the loss: rounding errors grow from step to step


def losses(path):
    with open(path, newline="") as file:
        return [(float(row["train_loss"]), float(row["val_loss"])) for row in csv.DictReader(file)]


one, other = (losses(path) for path in sys.argv[1:])
largest = max(abs(a - b) / b for x, y in zip(one, other, strict=True) for a, b in zip(x, y))
print(f"{len(one)} epochs on both devices: largest relative difference of a loss {largest:.1e}, allowed {TOLERANCE:.0e}")
sys.exit(not one or largest > TOLERANCE)
