# Writes golden.json: what torchvision's erase makes of a few small normalized images.
#
#   python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python make_golden.py
#
# Pixels are bytes in HWC order, results floats in CHW order. Everything comes from a fixed generator, so a rerun gives the
# same file.

import json
import random
from pathlib import Path

import PIL
import torch
import torchvision
from PIL import Image
from torchvision.transforms import functional as F

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def case(rng, height, width, box, value):
    pixels = bytes(rng.randrange(256) for _ in range(height * width * 3))
    image = F.normalize(F.to_tensor(Image.frombytes("RGB", (width, height), pixels)), MEAN, STD)
    top, left, rows, columns = box
    result = F.erase(image, top, left, rows, columns, torch.tensor([value])[:, None, None])
    return {
        "height": height,
        "width": width,
        "from": [top, left],
        "size": [rows, columns],
        "value": value,
        "pixels": list(pixels),
        # Nine digits name an f32 exactly.
        "expected": [float(f"{v:.9g}") for v in result.ravel().tolist()],
    }


def main():
    rng = random.Random(4)
    cases = [
        case(rng, 4, 6, (1, 2, 2, 3), 0.0),
        case(rng, 5, 3, (0, 0, 4, 1), -1.5),
        case(rng, 3, 4, (2, 3, 1, 1), 0.25),
        case(rng, 3, 3, (1, 1, 0, 2), 1.0),
    ]
    versions = {m.__name__: m.__version__ for m in (torch, torchvision, PIL)}
    lines = json.dumps({"versions": versions, "cases": cases}, separators=(",", ":")).replace('{"height"', '\n{"height"')
    (Path(__file__).parent / "golden.json").write_text(lines + "\n")


main()
