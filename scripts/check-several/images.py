"""Makes images with several labels each: digits of MNIST laid over one another, and a list of photographs with second labels.

    images.py digits IMAGES LABELS FOLDER COUNT
    images.py photographs FOLDER LIST
"""

import csv
import gzip
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def idx(path: str) -> np.ndarray:
    """Reads an IDX file of bytes, compressed or not."""
    content = Path(path).read_bytes()
    if path.endswith(".gz"):
        content = gzip.decompress(content)
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def digits(images: str, labels: str, folder: str, count: str) -> None:
    """Writes images of 40 x 40 pixels, each with none to three digits at random places, where the brighter pixel wins. Half of
    the list has its labels in one column, and all of it has a column for each digit in a list of its own."""
    images, labels = idx(images), idx(labels)
    random = np.random.default_rng(0)
    folder = Path(folder)
    folder.mkdir(parents=True)
    with (
        open(folder / "list.csv", "w", newline="") as names,
        open(folder / "columns.csv", "w", newline="") as columns,
    ):
        names, columns = csv.writer(names), csv.writer(columns)
        names.writerow(["path", "labels"])
        columns.writerow(["path", *range(10)])
        for number in range(int(count)):
            canvas = np.zeros((40, 40), np.uint8)
            found = set()
            for chosen in random.choice(len(images), random.choice(4, p=[0.05, 0.35, 0.4, 0.2]), replace=False):
                down, across = random.integers(0, 13, 2)
                part = canvas[down : down + 28, across : across + 28]
                np.maximum(part, images[chosen], out=part)
                found.add(int(labels[chosen]))
            path = f"{number:05}.png"
            Image.fromarray(canvas).save(folder / path)
            names.writerow([path, "|".join(map(str, sorted(found)))])
            columns.writerow([path, *(int(digit in found) for digit in range(10))])


def photographs(folder: str, path: str) -> None:
    """Lists the photographs of a folder of class folders with their class and made-up second labels: `dark` where the mean gray
    is below 100, `warm` where red is brighter than blue by more than 10, `wide` where they are."""
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "labels"])
        for image in sorted(Path(folder).resolve().glob("*/*")):
            photograph = Image.open(image).convert("RGB")
            red, green, blue = np.asarray(photograph.resize((32, 32))).reshape(-1, 3).mean(0)
            second = {
                "dark": 0.299 * red + 0.587 * green + 0.114 * blue < 100,
                "warm": red > blue + 10,
                "wide": photograph.width > photograph.height,
            }
            names = [image.parent.name, *(name for name, has in second.items() if has)]
            rows.writerow([image, "|".join(names)])


if __name__ == "__main__":
    {"digits": digits, "photographs": photographs}[sys.argv[1]](*sys.argv[2:])
