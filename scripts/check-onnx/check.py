"""Checks ONNX files from kiln with the Python packages `onnx` and `onnxruntime`, which share no code with kiln.

usage: check.py MODEL.onnx PREDICTIONS.csv IMAGES SCHEMA [SHARE]

IMAGES is MNIST's t10k-images-idx3-ubyte; PREDICTIONS.csv is its output of `kiln eval --predictions`; SCHEMA is
docs/metadata.schema.json. With SHARE, the predictions are those of an engine that rounds a quantized model's values differently: so
many of them have to agree, such as 0.995.
"""

import base64
import csv
import json
import sys

import jsonschema
import numpy as np
import onnx
import onnxruntime as ort
from onnx import shape_inference


def check_file(path):
    """Checks that the file is valid, that its shapes can be inferred strictly, and that only the batch is dynamic."""
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path)
    inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    constants = {tensor.name for tensor in model.graph.initializer}
    # Weights that are kept in a smaller type.
    restored = {node.output[0] for node in model.graph.node if constants.issuperset(node.input)}
    for value in [*inferred.graph.input, *inferred.graph.output, *inferred.graph.value_info]:
        if value.name in restored:
            continue
        dims = value.type.tensor_type.shape.dim
        assert dims[0].dim_param == "batch", f"{value.name}: the first axis is not the symbolic batch"
        assert all(dim.HasField("dim_value") for dim in dims[1:]), f"{value.name}: an axis other than the batch is dynamic"
    assert (model.opset_import[0].version, model.ir_version) == (18, 8), "expected opset 18, IR version 8"
    assert not {node.op_type for node in model.graph.node} & {"Shape", "Gather", "Dropout", "Identity"}
    return {entry.key: entry.value for entry in model.metadata_props}


def check_metadata(metadata, schema):
    """Checks the metadata against the schema, and that the schema rejects wrong values. Returns the metadata's values."""
    words = ("kiln.layout", "kiln.output", "kiln.output_name")
    values = {key: value if key in words else json.loads(value) for key, value in metadata.items()}
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    # The scores of kiln's own files are the first output, which needs no name.
    assert set(values) == set(schema["properties"]) - {"kiln.output_name", "kiln.threshold"}, f"expected every key, found {sorted(values)}"
    validator.validate(values)
    for key, wrong in [
        ("kiln.format", 3),
        ("kiln.labels", []),
        ("kiln.layout", "hwc"),
        ("kiln.output", "scores"),
        ("kiln.provenance", {"data:x": "no checksum"}),
        ("kiln.preprocessing", {**values["kiln.preprocessing"], "mean": [0, 0, 0]}),
        ("kiln.preprocessing", {**values["kiln.preprocessing"], "new": 1}),
        ("kiln.golden", {**values["kiln.golden"], "vectors": []}),
    ]:
        assert not validator.is_valid({**values, key: wrong}), f"the schema accepts {wrong} for {key}"
    return values


def check_golden(golden, output, record, run):
    """Replays the golden vectors without kiln. `run` returns the graph's first output."""
    values = np.array if output == "logits" else lambda scores: np.log(np.maximum(np.float64(scores), 1e-30))
    worst = 0.0
    for vector in golden["vectors"]:
        shape = [vector[side] for side in ("height", "width", "channels")]
        pixels = np.frombuffer(base64.b64decode(vector["pixels"]), np.uint8).reshape(shape)
        found = run(prepare(pixels[None, :, :, 0], record))[0]
        difference = np.abs(values(found) - values(vector["scores"])).max()
        assert difference <= vector["tolerance"], f"{vector['source']}: a score differs by {difference}"
        worst = max(worst, difference)
    return worst


def prepare(images, record):
    """Applies the preprocessing record without kiln; the images already have the model's size."""
    assert (record["height"], record["width"], record["channels"]) == (28, 28, "gray")
    pixels = images.astype(np.float32)[:, None]
    return (pixels * np.float32(record["scale"]) - np.float32(record["mean"][0])) / np.float32(record["std"][0])


def main():
    model_path, predictions_path, images_path, schema_path, *share = sys.argv[1:]
    metadata = check_metadata(check_file(model_path), json.load(open(schema_path)))
    images = np.frombuffer(open(images_path, "rb").read()[16:], np.uint8).reshape(-1, 28, 28)
    record, labels = metadata["kiln.preprocessing"], metadata["kiln.labels"]
    inputs = prepare(images, record)

    session = ort.InferenceSession(model_path, providers=["CPUExecutionProvider"])
    output = session.get_outputs()[0]
    assert output.name == metadata["kiln.output"]

    def first_output(batch):
        return session.run(None, {"input": batch})[0]

    def probabilities(batch):
        scores = first_output(batch)
        if metadata["kiln.output"] == "logits":
            scores = np.exp(scores - scores.max(1, keepdims=True))
            scores /= scores.sum(1, keepdims=True)
        return scores

    whole = probabilities(inputs)
    for size in (1, 2, 3, 17, 128, 1000):
        difference = np.abs(probabilities(inputs[:size]) - whole[:size]).max()
        assert difference < 1e-5, f"batch {size} differs from the full batch by {difference}"

    rows = list(csv.DictReader(open(predictions_path)))
    assert len(rows) == len(images)
    kiln = np.array([[float(row[f"p_{label}"]) for label in labels] for row in rows])
    difference = np.abs(kiln - whole).max()
    assert share or difference < 1e-4, f"kiln's probabilities differ from onnxruntime's by {difference}"
    same = sum(row["predicted"] == labels[at] for row, at in zip(rows, whole.argmax(1)))
    assert same >= (float(share[0]) if share else 1) * len(rows), f"only {same} of {len(rows)} predictions agree"
    worst = check_golden(metadata["kiln.golden"], metadata["kiln.output"], record, first_output)
    print(
        f"{model_path}: valid; {same} of {len(rows)} predictions as in Python, largest difference {difference:.1e}; "
        f"{len(metadata['kiln.golden']['vectors'])} golden vectors, largest difference {worst:.1e}"
    )


if __name__ == "__main__":
    main()
