"""Compares a converted network with a second conversion, on photographs and noise, and looks at the classes it finds.

usage: check.py NETWORK WEIGHTS MODEL.onnx PHOTOGRAPHS

MODEL.onnx is kiln's conversion of WEIGHTS; PHOTOGRAPHS is scikit-image's folder of images.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime as ort
from PIL import Image
from reference import NETWORKS
from tensors import read

PHOTOGRAPHS = ["chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg", "astronaut.png", "coins.png"]

PILLOW = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}

# The second is the tiger cat, as the package of labels has it.
CATS = {"tabby cat", "a cat having a striped coat", "Egyptian Mau"}
COMMON = {
    ("chelsea.png", "stretched"): CATS,
    ("coffee.png", "stretched"): {"espresso"},
    ("motorcycle_left.png", "stretched"): {"moped"},
}
FOUND = {
    # The rocket becomes a drilling rig when it is squeezed.
    "efficientnet-lite0": {**COMMON, ("rocket.jpg", "cropped"): {"missile"}},
    "squeezenet": COMMON,
    "mobilenet-v2": {},
}

# Largest difference of a score, as a share of the largest score.
TOLERANCE = 1e-4


def stretched(image, record):
    """Squeezes to the model's size, by the record's filter."""
    assert record["resize"]["antialias"]
    return image.resize((record["width"], record["height"]), PILLOW[record["resize"].get("filter", "bilinear")])


def cropped(image, record):
    """Resizes the shorter side to 256 pixels and takes the middle: how such networks are measured, and the record of the
    one that says so."""
    if "fit" in record["resize"]:
        assert record["resize"]["fit"] == "shorter" and record["resize"]["size"] == [256, 256]
    height, width = record["height"], record["width"]
    factor = 256 / min(image.size)
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.BICUBIC)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def prepare(images, record):
    """Applies the preprocessing record without kiln; the images already have the model's size."""
    pixels = np.float32(images) if record["channels"] == "rgb" else np.float32(images)[..., ::-1]
    mean, std = np.float32(record["mean"]), np.float32(record["std"])
    return np.ascontiguousarray(((pixels * np.float32(record["scale"]) - mean) / std).transpose(0, 3, 1, 2))


def main():
    network, weights, model_path, folder = sys.argv[1:]
    onnx.checker.check_model(model_path, full_check=True)
    model = onnx.load(model_path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    record = json.loads(metadata["kiln.preprocessing"])
    labels = json.loads(metadata.get("kiln.labels", "[]"))

    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)

    images = {}
    for name in PHOTOGRAPHS:
        photograph = Image.open(f"{folder}/{name}").convert("RGB")
        for fit in (stretched, cropped):
            images[name, fit.__name__] = np.asarray(fit(photograph, record))
    images["noise", None] = np.random.default_rng(1).integers(0, 256, (record["height"], record["width"], 3), np.uint8)
    inputs = prepare(np.stack(list(images.values())), record)
    session = ort.InferenceSession(model_path, providers=["CPUExecutionProvider"])
    scores = session.run(None, {"input": inputs})[0]
    reference = ort.InferenceSession(NETWORKS[network](read(weights)), providers=["CPUExecutionProvider"])
    expected = reference.run(None, {"input": inputs})[0]
    assert scores.shape == expected.shape == (len(images), 1280 if network == "mobilenet-v2" else len(labels))
    difference = np.abs(scores - expected).max() / np.abs(expected).max()
    assert difference < TOLERANCE, f"scores differ by {difference} of the largest"

    for image, classes in FOUND[network].items():
        found = labels[scores[list(images).index(image)].argmax()]
        assert found in classes, f"{image}: expected {classes}, found {found}"
    classified = f"; {len(FOUND[network])} photographs classified correctly" if labels else ""
    print(
        f"{network}: {len(names)} nodes; scores of {len(images)} images differ by {difference:.1e} of the largest{classified}"
    )


if __name__ == "__main__":
    main()
