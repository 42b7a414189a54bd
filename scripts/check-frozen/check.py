"""check.py KILN FOLDER [NAME or FILE.onnx...]: exports networks of torchvision and timm with seeded random weights, or takes others'
files as they are, trains a head on each with kiln, and checks the exported file: what leads to the features is the original's, and
onnxruntime computes the scores that the features and the head's weights give."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import timm
import torch
import torchvision
from onnxconverter_common import float16
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[2]


def randomize(model):
    """Statistics of batch normalization as a trained network has them: not 0 and 1."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def torchvision_model(name):
    return lambda: randomize(getattr(torchvision.models, name)(weights=None))


def timm_model(name):
    return lambda: randomize(timm.create_model(name, pretrained=False))


NETWORKS = {
    "resnet18": torchvision_model("resnet18"),
    "mobilenet_v3_small": torchvision_model("mobilenet_v3_small"),
    "efficientnet_b0": torchvision_model("efficientnet_b0"),
    "convnext_tiny": torchvision_model("convnext_tiny"),
    "swin_t": torchvision_model("swin_t"),
    "vit_b_16": torchvision_model("vit_b_16"),
    "deit_tiny": timm_model("deit_tiny_patch16_224"),
    "clip_vision": timm_model("vit_base_patch32_clip_224.openai"),
}


class Calibration(CalibrationDataReader):
    def __init__(self, name):
        images = np.random.default_rng(3).normal(size=(4, 1, 3, 224, 224)).astype(np.float32)
        self.images = iter([{name: image} for image in images])

    def get_next(self):
        return next(self.images, None)


def files(folder, names):
    """Every network by the legacy exporter, some by dynamo's, one quantized, one in half precision; files that exist are themselves."""
    for name in names:
        if name.endswith(".onnx"):
            yield Path(name)
            continue
        if name == "resnet18_int8":
            source = folder / "resnet18.onnx"
            target = folder / "resnet18_int8.onnx"
            quantize_static(source, target, Calibration("input"))
            yield target
            continue
        if name == "resnet18_fp16":
            target = folder / "resnet18_fp16.onnx"
            onnx.save(float16.convert_float_to_float16(onnx.load(folder / "resnet18.onnx"), keep_io_types=True), target)
            yield target
            continue
        base, _, exporter = name.partition("@")
        torch.manual_seed(7)
        model = NETWORKS[base]()
        path = folder / f"{name.replace('@', '_')}.onnx"
        image = torch.zeros(1, 3, 224, 224)
        names_of = {"input_names": ["input"], "output_names": ["output"]}
        if exporter == "dynamo":
            batch = {"x": {0: torch.export.Dim("batch")}} if base != "deit_tiny" else None
            torch.onnx.export(model, (image,), path, dynamo=True, external_data=False, dynamic_shapes=None, **names_of)
        else:
            axes = {"input": {0: "batch"}, "output": {0: "batch"}}
            torch.onnx.export(
                model, (image,), path, dynamo=False, opset_version=int(exporter or 17), dynamic_axes=axes, **names_of
            )
        yield path


def train(kiln, file, folder):
    recipe = folder / f"{file.stem}.toml"
    recipe.write_text(
        f"""[input]
preprocess = "torch"
[backbone]
weights = '{file}'
[data]
folder = "tests/fixtures/digits"
[training]
epochs = 3
batch_size = 32
[[layers]]
type = "dense"
"""
    )
    command = [kiln, "run", str(recipe), "--runs", str(folder / "runs")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if ended.returncode != 0:
        raise SystemExit(f"{file.name}: {ended.stderr[-2000:]}")
    lines = [line.strip() for line in (ended.stderr + ended.stdout).splitlines()]
    model = next(line.removeprefix("Model: ") for line in lines if line.startswith("Model: "))
    said = [line for line in lines if line.startswith(("Verified", "Features", "Note", "Trained"))]
    return Path(model), said


def content(node):
    """A node's bytes; an empty domain that is written out, as tf2onnx does, is none."""
    plain = onnx.NodeProto()
    plain.CopyFrom(node)
    if not plain.domain:
        plain.ClearField("domain")
    return plain.SerializeToString()


def check(original, run_model):
    before, after = onnx.load(original), onnx.load(run_model)
    onnx.checker.check_model(after)
    nodes = list(after.graph.node)
    kept = 0
    theirs = {content(node) for node in before.graph.node}
    while kept < len(nodes) and content(nodes[kept]) in theirs:
        kept += 1
    tensors = {tensor.name: tensor.SerializeToString() for tensor in before.graph.initializer}
    head = nodes[kept:]
    of_head = {name for node in head for name in node.input}
    for tensor in after.graph.initializer:
        same = tensors.get(tensor.name) == tensor.SerializeToString()
        assert same or tensor.name in of_head, f"{tensor.name} was changed"
    kinds = [node.op_type for node in head]
    assert kinds in (["Gemm"], ["Cast", "Gemm"]), kinds
    assert {s.domain: s.version for s in after.opset_import} == {s.domain: s.version for s in before.opset_import}
    value = head[0].input[0]

    weights = load_file(run_model.parent / "weights.safetensors")
    before.graph.output.append(onnx.ValueInfoProto(name=value))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(before.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name, (batch, *shape) = session.get_inputs()[0].name, session.get_inputs()[0].shape
    images = np.random.default_rng(5).normal(size=(4, *shape)).astype(np.float32)
    one_by_one = isinstance(batch, int)
    batches = [images[i : i + 1] for i in range(4)] if one_by_one else [images]
    features = np.concatenate([session.run([value], {name: batch})[0] for batch in batches]).astype(np.float32)
    expected = features @ weights["dense.weight"].T + weights["dense.bias"]
    session = ort.InferenceSession(str(run_model), options, providers=["CPUExecutionProvider"])
    found = np.concatenate([session.run(None, {name: batch})[0] for batch in batches])
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    assert difference < 1e-5, difference
    return kept, len(tensors), difference


def main():
    kiln, folder, *names = sys.argv[1:]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = names or [*NETWORKS, "resnet18@13", "resnet18@dynamo", "deit_tiny@dynamo", "resnet18_int8", "resnet18_fp16"]
    for file in files(folder, names):
        model, said = train(kiln, file, folder)
        kept, tensors, difference = check(file, model)
        print(f"{file.stem}: {kept} nodes and {tensors} tensors kept, scores within {difference:.1e}")
        for line in said:
            print(f"    {line}")


main()
