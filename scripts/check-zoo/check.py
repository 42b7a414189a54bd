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

# The second is the tiger cat, as the package of labels has it.
CATS = {"tabby cat", "a cat having a striped coat", "Egyptian Mau"}
FOUND = {
    "efficientnet-lite0": {
        "chelsea.png": CATS,
        "coffee.png": {"espresso"},
        "motorcycle_left.png": {"moped"},
        "rocket.jpg": {"missile"},
    },
    "squeezenet": {"chelsea.png": CATS, "coffee.png": {"espresso"}, "motorcycle_left.png": {"moped"}},
    "mobilenet-v2": {},
}

# Largest difference of a score, as a share of the largest score.
TOLERANCE = 1e-4


def photograph(path, record):
    """Shorter side an eighth more than the input, then the middle."""
    height, width = record["height"], record["width"]
    image = Image.open(path).convert("RGB")
    factor = max(height / image.height, width / image.width) * 8 / 7
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.BICUBIC)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return np.asarray(image.crop((left, top, left + width, top + height)))


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

    images = [photograph(f"{folder}/{name}", record) for name in PHOTOGRAPHS]
    images.append(np.random.default_rng(1).integers(0, 256, images[0].shape, np.uint8))
    inputs = prepare(np.stack(images), record)
    session = ort.InferenceSession(model_path, providers=["CPUExecutionProvider"])
    scores = session.run(None, {"input": inputs})[0]
    reference = ort.InferenceSession(NETWORKS[network](read(weights)), providers=["CPUExecutionProvider"])
    expected = reference.run(None, {"input": inputs})[0]
    assert scores.shape == expected.shape == (len(images), 1280 if network == "mobilenet-v2" else len(labels))
    difference = np.abs(scores - expected).max() / np.abs(expected).max()
    assert difference < TOLERANCE, f"scores differ by {difference} of the largest"

    for name, classes in FOUND[network].items():
        found = labels[scores[PHOTOGRAPHS.index(name)].argmax()]
        assert found in classes, f"{name}: expected {classes}, found {found}"
    print(
        f"{network}: {len(names)} nodes; scores of {len(images)} images differ by {difference:.1e} of the largest; "
        f"{len(FOUND[network])} photographs classified as they should be"
    )


if __name__ == "__main__":
    main()
