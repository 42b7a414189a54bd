# Writes golden.json: what TensorFlow and Pillow make of a few small images.
#
#   python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python make_golden.py
#
# Images are lists of bytes in HWC order. Pixels come from a fixed generator, so a rerun gives the same file.

import json
from pathlib import Path

import numpy as np
import PIL
import tensorflow as tf
from PIL import Image

FOLDER = Path(__file__).parent

# (height, width, channels) -> (height, width), antialias
RESIZES = [
    ((28, 28, 1), (32, 32), False),
    ((28, 28, 1), (32, 32), True),
    ((28, 28, 1), (48, 40), False),
    ((33, 17, 3), (8, 5), False),
    ((33, 17, 3), (8, 5), True),
    ((9, 40, 1), (21, 7), False),
    ((9, 40, 1), (21, 7), True),
    ((1, 1, 3), (4, 4), False),
]


def resize(rng, shape, size, antialias):
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    resized = tf.image.resize(pixels, size, method="bilinear", antialias=antialias).numpy()
    assert resized.dtype == np.float32
    return {
        "source": list(shape),
        "size": list(size),
        "antialias": antialias,
        "pixels": pixels.ravel().tolist(),
        # Nine digits name an f32 exactly.
        "expected": [float(f"{v:.9g}") for v in resized.ravel()],
    }


def luma(rng):
    pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    pixels[0, :4] = [[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    return {"pixels": pixels.ravel().tolist(), "expected": grey.ravel().tolist()}


def alpha(rng):
    pixels = rng.integers(0, 256, (4, 4, 4), dtype=np.uint8)
    rgb = np.asarray(Image.fromarray(pixels, "RGBA").convert("RGB"))
    grey = np.asarray(Image.fromarray(pixels, "RGBA").convert("L"))
    return {"pixels": pixels.ravel().tolist(), "rgb": rgb.ravel().tolist(), "gray": grey.ravel().tolist()}


def sixteen_bit(rng):
    samples = rng.integers(0, 65536, (8, 8, 1), dtype=np.uint16)
    png = tf.io.encode_png(samples).numpy()
    decoded = tf.io.decode_png(png, dtype=tf.uint8).numpy()
    return {"samples": samples.ravel().tolist(), "expected": decoded.ravel().tolist()}


def main():
    rng = np.random.default_rng(20)
    golden = {
        "versions": {"pillow": PIL.__version__, "tensorflow": tf.__version__},
        "resize": [resize(rng, *case) for case in RESIZES],
        "luma": luma(rng),
        "alpha": alpha(rng),
        "sixteen_bit": sixteen_bit(rng),
    }
    # One line per case keeps the file readable and its differences small.
    lines = json.dumps(golden, separators=(",", ":")).replace('{"source"', '\n{"source"')
    for key in ("resize", "luma", "alpha", "sixteen_bit"):
        lines = lines.replace(f'"{key}":', f'\n"{key}":')
    (FOLDER / "golden.json").write_text(lines + "\n")


main()
