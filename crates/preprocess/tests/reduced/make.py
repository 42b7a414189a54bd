# Writes photographs and golden.json: what Pillow makes of them where it divides them before it resizes them.
#
#   python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python make.py
#
# `drafted` is of a JPEG that Pillow decodes at a smaller size (`draft`), `averaged` of one that it decodes whole and whose squares
# of pixels it averages (`reduce`). Both are then resized as Pillow does, and are [height, width, channels] as in a file.

import io
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).parent
# A divisor, and the size that images are resized to: a record with `reducing_gap` 1 divides by just as much.
CASES = {2: (111, 147), 4: (60, 81), 8: (31, 41)}


def photograph():
    """Soft shapes in strong colors, edges, and fine texture."""
    y, x = np.mgrid[0:250, 0:331].astype(np.float64)
    channels = [
        128 + 100 * np.sin(x / 23 + y / 61),
        128 + 90 * np.cos(x / 41 - y / 17) + 30 * ((x - 200) ** 2 + (y - 120) ** 2 < 60**2),
        60 + 0.5 * x + 40 * (y > 150),
    ]
    texture = 12 * np.sin(x * 2.1) * np.sin(y * 1.7)
    return Image.fromarray(np.clip(np.stack(channels, -1) + texture[..., None], 0, 255).astype(np.uint8))


def main():
    image = photograph()
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(HERE / "color.jpg", quality=90)
    image.save(HERE / "full.jpg", quality=90, subsampling=0)
    image.save(HERE / "turned.jpg", quality=90, exif=exif)
    image.save(HERE / "progressive.jpg", quality=90, progressive=True)
    image.convert("L").save(HERE / "gray.jpg", quality=90)
    image.save(HERE / "color.png")
    rows = []
    for file in sorted([*HERE.glob("*.jpg"), *HERE.glob("*.png")]):
        whole = Image.open(file)
        for by, size in CASES.items():
            drafted = Image.open(io.BytesIO(file.read_bytes()))
            drafted.draft(None, size[::-1])
            averaged = whole.reduce(by)
            assert drafted.size == averaged.size or file.suffix == ".png", (file, by, drafted.size)
            if whole.getexif().get(0x0112) == 6:
                size = size[::-1]
                averaged = averaged.transpose(Image.Transpose.ROTATE_270)
            row = {"file": file.name, "by": by, "size": size}
            for name, found in [("drafted", drafted), ("averaged", averaged)]:
                if name == "drafted" and file.suffix == ".png":
                    continue
                found = ImageOps.exif_transpose(found) if name == "drafted" else found
                row[name] = np.asarray(found.resize(size[::-1], Image.Resampling.BILINEAR)).ravel()[::7].tolist()
            rows.append(row)
    text = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    (HERE / "golden.json").write_text(f'{{"pillow":"{version("pillow")}","rows":[\n{text}\n]}}\n')


main()
