"""MNIST from kiln's cache, prepared as in kiln's training."""

import pathlib

import numpy


def training(folder: str, count: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Returns the first images, [n, 1, 28, 28] in 0..1, and their labels."""
    files = pathlib.Path(folder)
    pixels = numpy.fromfile(files / "train-images-idx3-ubyte", numpy.uint8, offset=16)
    labels = numpy.fromfile(files / "train-labels-idx1-ubyte", numpy.uint8, offset=8)
    images = pixels.reshape(-1, 1, 28, 28)[:count].astype(numpy.float32) / 255
    return images, labels[:count].astype(numpy.int64)
