# Writes golden.json: what torchvision's transforms make of small 8-bit images when what they draw is given.
#
#   python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python make_golden.py
#
# Pixels are bytes in HWC order, results bytes in CHW order. Everything comes from a fixed generator, so a rerun gives the
# same file.

import json
import random
from pathlib import Path

import PIL
import torch
import torchvision
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import AugMix, RandAugment
from torchvision.transforms.v2 import functional as F

BILINEAR = InterpolationMode.BILINEAR


def picture(rng, height, width, channels):
    """Smooth enough that interpolation is not all noise, with a few outliers."""
    pixels = []
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                base = 40 + 25 * c + 9 * y + 6 * x + rng.randrange(30)
                pixels.append(rng.randrange(256) if rng.random() < 0.05 else min(base, 230))
    return bytes(pixels)


def tensor(pixels, height, width, channels):
    values = torch.frombuffer(bytearray(pixels), dtype=torch.uint8)
    return values.reshape(height, width, channels).permute(2, 0, 1)


def policy(name, value):
    """The change as RandAugment carries it out."""
    transform = RandAugment(interpolation=BILINEAR)
    return lambda image: transform._apply_image_or_video_transform(
        image, name, value, interpolation=BILINEAR, fill={type(image): None}
    )


CHANGES = [
    ("ShearX", 0.23, policy("ShearX", 0.23)),
    ("ShearX", -0.99, policy("ShearX", -0.99)),
    ("ShearY", 0.3, policy("ShearY", 0.3)),
    ("TranslateX", 3.0, policy("TranslateX", 3.0)),
    ("TranslateY", -2.0, policy("TranslateY", -2.0)),
    ("Rotate", 17.0, policy("Rotate", 17.0)),
    ("Rotate", -135.0, policy("Rotate", -135.0)),
    ("Brightness", 1.4, policy("Brightness", 0.4)),
    ("Brightness", 0.35, lambda image: F.adjust_brightness(image, 0.35)),
    ("Contrast", 0.3, policy("Contrast", -0.7)),
    ("Contrast", 1.9, lambda image: F.adjust_contrast(image, 1.9)),
    ("Saturation", 0.25, policy("Color", -0.75)),
    ("Saturation", 1.9, lambda image: F.adjust_saturation(image, 1.9)),
    ("Hue", 0.1, lambda image: F.adjust_hue(image, 0.1)),
    ("Hue", -0.45, lambda image: F.adjust_hue(image, -0.45)),
    ("Sharpness", 1.9, policy("Sharpness", 0.9)),
    ("Sharpness", 0.1, policy("Sharpness", -0.9)),
    ("Posterize", 5, policy("Posterize", 5)),
    ("Posterize", 2, policy("Posterize", 2)),
    ("Solarize", 102.0, policy("Solarize", 102.0 / 255)),
    ("AutoContrast", None, policy("AutoContrast", 0.0)),
    ("Equalize", None, policy("Equalize", 0.0)),
]


def adjustments(rng):
    for height, width, channels in [(12, 17, 3), (16, 11, 3), (9, 9, 1), (2, 5, 3)]:
        pixels = picture(rng, height, width, channels)
        image = tensor(pixels, height, width, channels)
        yield {
            "size": [height, width, channels],
            "pixels": list(pixels),
            "changes": [
                {"change": name, "value": value, "expected": change(image).ravel().tolist()} for name, value, change in CHANGES
            ],
        }


class Recorded(AugMix):
    """AugMix that tells what it drew."""

    def forward(self, image):
        self.shares, self.chains = [], []
        return super().forward(image)

    def _sample_dirichlet(self, params):
        shares = super()._sample_dirichlet(params)
        self.shares.append(shares[0])
        return shares

    def _apply_image_or_video_transform(self, image, name, magnitude, interpolation, fill):
        # Each chain begins with the same image.
        if not self.chains or image is self.first:
            self.first = image
            self.chains.append([])
        self.chains[-1].append(as_change(name, magnitude))
        return super()._apply_image_or_video_transform(image, name, magnitude, interpolation=interpolation, fill=fill)


def as_change(name, magnitude):
    """The change by the names and in the units of CHANGES."""
    if name in ("Brightness", "Contrast", "Color", "Sharpness"):
        return [{"Color": "Saturation"}.get(name, name), 1.0 + magnitude]
    if name in ("TranslateX", "TranslateY", "Posterize"):
        return [name, int(magnitude)]
    if name == "Solarize":
        return [name, 255.0 * magnitude]
    return [name, None if name in ("AutoContrast", "Equalize") else magnitude]


def mixtures(rng):
    for seed, (height, width, channels, settings) in enumerate(
        [
            (12, 17, 3, {}),
            (16, 11, 3, {"severity": 10, "alpha": 0.5}),
            (9, 9, 1, {"mixture_width": 5, "chain_depth": 4}),
            (14, 14, 3, {"mixture_width": 1, "all_ops": False, "severity": 6}),
            (13, 10, 3, {"chain_depth": 2, "severity": 8, "alpha": 4.0}),
        ]
    ):
        pixels = picture(rng, height, width, channels)
        torch.manual_seed(seed)
        transform = Recorded(interpolation=BILINEAR, **settings)
        result = transform(tensor(pixels, height, width, channels))
        both, of_chains = transform.shares
        exact = lambda value: float(f"{float(value):.9g}")
        yield {
            "size": [height, width, channels],
            "pixels": list(pixels),
            "own": exact(both[0]),
            "chains": [
                {"share": exact(share * both[1]), "changes": changes} for share, changes in zip(of_chains, transform.chains)
            ],
            "expected": result.ravel().tolist(),
        }


def crops(rng):
    """`resized_crop` of Pillow's images, and of tensors."""
    for height, width, box, size in [
        (40, 30, (3, 5, 20, 16), (8, 8)),
        (30, 41, (0, 0, 30, 41), (8, 12)),
        (16, 16, (10, 9, 4, 7), (10, 12)),
        (25, 25, (6, 7, 9, 9), (9, 9)),
    ]:
        pixels = picture(rng, height, width, 3)
        image = Image.frombytes("RGB", (width, height), pixels)
        top, left, rows, columns = box
        for arithmetic in ["pillow", "torch"]:
            source = image if arithmetic == "pillow" else tensor(pixels, height, width, 3).to(torch.float32)
            result = F.resized_crop(source, top, left, rows, columns, list(size), BILINEAR, antialias=True)
            if arithmetic == "pillow":
                result = F.pil_to_tensor(result)
            yield {
                "size": [height, width],
                "from": [top, left],
                "part": [rows, columns],
                "to": list(size),
                "arithmetic": arithmetic,
                "pixels": list(pixels),
                "expected": [float(f"{v:.9g}") for v in result.ravel().tolist()],
            }


def main():
    rng = random.Random(11)
    golden = {
        "versions": {m.__name__: m.__version__ for m in (torch, torchvision, PIL)},
        "adjustments": list(adjustments(rng)),
        "crops": list(crops(rng)),
        "mixtures": list(mixtures(rng)),
    }
    text = json.dumps(golden, separators=(",", ":")).replace('{"size"', '\n{"size"').replace('{"change"', '\n{"change"')
    (Path(__file__).parent / "golden.json").write_text(text + "\n")


main()
