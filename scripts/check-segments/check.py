"""check.py PROGRAM [FILE.onnx...]: compares what the program `run_segments` computes for each layer of a network with ONNX Runtime: of
the graphs in graphs/, which get random weights, or of whole files."""

import gzip
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

sys.path.append(str(Path(__file__).parent.parent / "check-graphs"))
from weights import fill  # noqa: E402

# Largest difference of a layer's output, as a part of its largest value.
TOLERANCE = 1e-4
GRAPHS = Path(__file__).parent / "graphs"


def images_for(model):
    constants = {tensor.name for tensor in model.graph.initializer}
    (image,) = [value for value in model.graph.input if value.name not in constants]
    dims = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    batch = 1 if dims[0] == 1 else 2
    return image.name, np.random.default_rng(0).normal(size=[batch, *dims[1:]]).astype(np.float32)


def run(model, outputs, feed):
    named = {output.name for output in model.graph.output}
    for name in outputs:
        if name not in named:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(outputs, feed)


def check(program, file):
    """Compares all layers of a file, packed or not, in which tensors may have no values."""
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
        model = onnx.load(stream)
    fill(model)
    name, images = images_for(model)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        images.tofile(folder / "images.f32")
        filled = folder / "filled.onnx"
        onnx.save(model, filled)
        lines = subprocess.run([program, filled, folder], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        layers = [line.split("\t") for line in lines]
        expected = run(model, [value for _, value, _, _ in layers], {name: images})
        found = [np.fromfile(folder / f"{at}.f32", np.float32) for at in range(len(layers))]
        scores = np.fromfile(folder / "scores.f32", np.float32)
    worst = max(compare(file, layer, *pair) for layer, *pair in zip(layers, found, expected))
    of_scores = compare(file, ["all", "", "layers with kiln's kernels", ""], scores, expected[-1])
    fused = sum(how == "fused" for *_, how in layers)
    print(
        f"{file.name}: {len(layers)} layers, which differ by at most {worst:.1e}; {fused} by kiln's kernels, scores differ by {of_scores:.1e}",
        flush=True,
    )


def compare(file, layer, found, expected):
    """Returns the largest difference, as a part of the largest value."""
    name, _, kind, _ = layer
    assert found.size == expected.size, f"{name} gives {found.size} values, expected {expected.shape}"
    difference = np.abs(found - expected.ravel()).max() / np.abs(expected).max()
    assert difference <= TOLERANCE, f"{file.name}: {name} ({kind}) differs by {difference:.1e}"
    return difference


def main():
    program, *files = map(Path, sys.argv[1:])
    for file in files or sorted(GRAPHS.iterdir()):
        check(program, file)


if __name__ == "__main__":
    main()
