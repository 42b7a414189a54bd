# Writes golden.json: what Pillow, torchvision, timm, PyTorch and TensorFlow make of small synthetic photographs.
#
#   python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python make_golden.py
#
# An image is [height, width, channels]; its pixels come from `photograph`, which main.rs repeats. A record is kiln's
# own JSON. Expected values are [channels, height, width], of bytes where the peer resizes bytes.

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

IMAGES = [(31, 47, 3), (50, 33, 3), (23, 64, 1), (9, 11, 3)]
# An even and an odd number of pixels to crop on either side.
MODELS = [(16, 16), (15, 15)]
PILLOW = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
RAW = {"scale": 1, "mean": [0] * 3, "std": [1] * 3}
IMAGENET = {"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def photograph(height, width, channels):
    """Gradients, texture, and bright areas with sharp corners, where filters overshoot."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    smooth = (5 * x + 3 * y + 70 * c + x * y // 4) % 256
    texture = (x * 37 + y * 59 + c * 11) % 31
    bright = ((x // 9 + y // 7) % 3 == 0) & ((x + c) % 5 != 0)
    return np.where(bright, 255, np.clip(smooth // 2 + texture, 0, 255)).astype(np.uint8)


def pil(shape):
    pixels = photograph(*shape)
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    return Image.fromarray(pixels[..., 0] if shape[2] == 1 else pixels, modes[shape[2]])


def record(size, channels=3, resize=None, **values):
    values = {**RAW, **values}
    if channels == 1:
        values = {**values, "mean": values["mean"][:1], "std": values["std"][:1]}
    height, width = size
    resize = {"antialias": False, **(resize or {})}
    return {"height": height, "width": width, "channels": "gray" if channels == 1 else "rgb", "resize": resize, **values}


def case(peer, shape, record, expected):
    expected = np.asarray(expected)
    if expected.ndim == 2:
        expected = expected[..., None]
    if peer not in ("torchvision", "timm", "torch"):
        expected = expected.transpose(2, 0, 1)
    integers = expected.dtype == np.uint8
    # A hundredth of what main.rs allows.
    digits = 4 if record["scale"] < 1 else 3
    values = [int(v) if integers else round(float(v), digits) for v in expected.ravel()]
    return {"peer": peer, "image": list(shape), "record": record, "expected": values}


def pillow_cases():
    for shape in IMAGES:
        for size in [(13, 10), (12, 18)]:
            for name, filter in PILLOW.items():
                resize = {"filter": name, "antialias": name != "nearest", "arithmetic": "pillow"}
                resized = np.asarray(pil(shape).resize(size[::-1], filter))
                yield case("pillow", shape, record(size, shape[2], resize), resized)
    shape = (12, 9, 4)
    image = pil(shape)
    background = Image.new("RGB", image.size, (255, 200, 7))
    background.paste(image, mask=image.getchannel("A"))
    yield case("pillow", shape, {**record((12, 9)), "background": [255, 200, 7]}, background)


def torchvision_cases():
    from torchvision import transforms as T

    # `crop_pct` of the preset: floor(16 / 0.875) and floor(15 / 0.875). The last size is larger than the image
    # becomes, and CenterCrop pads.
    for shape in [shape for shape in IMAGES if shape[2] == 3]:
        for size, to in [*((size, int(size[0] / 0.875)) for size in MODELS), ((16, 16), 11)]:
            compose = T.Compose([T.Resize(to), T.CenterCrop(size), T.ToTensor(), T.Normalize(IMAGENET["mean"], IMAGENET["std"])])
            resize = {"fit": "shorter", "size": [to, to], "filter": "bilinear", "antialias": True, "arithmetic": "pillow"}
            yield case("torchvision", shape, record(size, 3, resize, **IMAGENET), compose(pil(shape)))


def timm_cases():
    from timm.data import create_transform

    fits = {"center": "shorter", "squash": "stretch", "border": "longer"}
    for shape in IMAGES[:2]:
        for mode, fit in fits.items():
            for size, crop_pct, name in [((16, 16), 0.875, "bicubic"), ((15, 12), 0.95, "bilinear")]:
                compose = create_transform((3, *size), interpolation=name, crop_pct=crop_pct, crop_mode=mode)
                resize = {
                    "fit": fit,
                    "size": [int(side / crop_pct) for side in size],
                    "filter": name,
                    "antialias": True,
                    "arithmetic": "pillow",
                    "padding": [round(255 * mean) for mean in IMAGENET["mean"]],
                }
                yield case("timm", shape, record(size, 3, resize, **IMAGENET), compose(pil(shape)))


def torch_cases():
    import torch
    import torch.nn.functional as F

    for shape, size in [(IMAGES[0], (10, 7)), (IMAGES[3], (11, 14)), (IMAGES[2], (28, 15))]:
        image = torch.from_numpy(photograph(*shape)).permute(2, 0, 1)[None].float()
        for name, antialias in [("nearest", False), *((name, on) for name in ("bilinear", "bicubic") for on in (False, True))]:
            resized = F.interpolate(image, size, mode=name, antialias=antialias)
            resize = {"filter": name, "antialias": antialias, "arithmetic": "torch"}
            yield case("torch", shape, record(size, shape[2], resize), resized[0])


def tensorflow_cases():
    import tensorflow as tf

    names = {"nearest": "nearest", "bilinear": "bilinear", "bicubic": "bicubic", "lanczos": "lanczos3"}
    for shape, size in [(IMAGES[0], (10, 7)), (IMAGES[3], (11, 14)), (IMAGES[2], (28, 15))]:
        for name, method in names.items():
            for antialias in (False, True):
                if name == "nearest" and antialias:
                    continue
                resized = tf.image.resize(photograph(*shape), size, method=method, antialias=antialias)
                resize = {"filter": name, "antialias": antialias}
                yield case("tensorflow", shape, record(size, shape[2], resize), tf.cast(resized, tf.float32))


PEERS = [pillow_cases, torchvision_cases, timm_cases, torch_cases, tensorflow_cases]


def main():
    if len(sys.argv) == 2:
        for case in PEERS[int(sys.argv[1])]():
            print(json.dumps(case, separators=(",", ":")))
        return
    # Each in a process of its own: PyTorch and TensorFlow do not load together.
    runs = [subprocess.run([sys.executable, __file__, str(peer)], stdout=subprocess.PIPE, check=True) for peer in range(len(PEERS))]
    lines = ",\n".join(line for run in runs for line in run.stdout.decode().splitlines())
    names = ["pillow", "tensorflow-cpu", "timm", "torch", "torchvision"]
    versions = json.dumps({name: version(name) for name in names})
    (Path(__file__).parent / "golden.json").write_text(f'{{"versions":{versions},\n"cases":[\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
