"""Exports networks of torchvision and timm, by three exporters, and writes their graphs without weights to graphs/."""

import gzip
import tempfile
from pathlib import Path

import numpy as np
import onnx
import timm
import torch
import torchvision

GRAPHS = Path(__file__).parent / "graphs"
# Elements of a tensor of floats from which on its values are left out: constants of formulas have fewer.
LARGE = 16

# Networks with the size of their images: small ones, where a network takes them.
TORCHVISION = {
    "resnet18": 96,
    "resnet50": 96,
    "resnext50_32x4d": 96,
    "regnet_y_400mf": 96,
    "mobilenet_v2": 96,
    "mobilenet_v3_small": 96,
    "mobilenet_v3_large": 96,
    "mnasnet1_0": 96,
    "efficientnet_b0": 96,
    "convnext_tiny": 96,
    "swin_t": 224,
    "densenet121": 96,
    "googlenet": 96,
    "inception_v3": 139,
    "shufflenet_v2_x1_0": 96,
    "squeezenet1_1": 96,
    "vgg11_bn": 224,
}
TIMM = {"deit_tiny_patch16_224": 224, "efficientnet_lite0": 96}
# One of the exporters in turn, so that each meets every third network; some meet all three.
EXPORTERS = ["13", "17", "dynamo"]
ATTENTION = ["deit_tiny_patch16_224"]  # exported from opset 14 on
BY_ALL = ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "deit_tiny_patch16_224"]


def build(name):
    # The default initialization of these two takes half a minute.
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if name in TIMM:
        return timm.create_model(name, pretrained=False).eval()
    return getattr(torchvision.models, name)(weights=None, **options).eval()


def exports():
    """Yields the names of networks, their image sizes and exporters."""
    for at, (name, size) in enumerate((TORCHVISION | TIMM).items()):
        for exporter in EXPORTERS if name in BY_ALL else [EXPORTERS[at % len(EXPORTERS)]]:
            yield name, size, "14" if exporter == "13" and name in ATTENTION else exporter


def export(name, size, exporter, folder):
    """Exports by the legacy exporter with this operator set, or by dynamo's."""
    file = folder / f"{name}-{exporter}.onnx"
    arguments = {"f": file, "input_names": ["images"], "output_names": ["scores"]}
    if exporter == "dynamo":
        # One image would make the batch a constant.
        arguments |= {"dynamo": True, "external_data": False, "dynamic_shapes": ({0: torch.export.Dim("batch")},), "verbose": False}
    else:
        axes = {"images": {0: "batch"}, "scores": {0: "batch"}}
        arguments |= {"dynamo": False, "opset_version": int(exporter), "dynamic_axes": axes}
    torch.onnx.export(build(name), (torch.zeros(2, 3, size, size),), **arguments)
    return file


def without_weights(file):
    """Returns a packed graph, the same for every run: the large tensors of floats without their values."""
    model = onnx.load(file)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) >= LARGE:
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
    for holder in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        # Where in whose Python code a node comes from.
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    return gzip.compress(model.SerializeToString(deterministic=True), 9, mtime=0)


def main():
    GRAPHS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, size, exporter in exports():
            file = export(name, size, exporter, Path(folder))
            (GRAPHS / f"{file.name}.gz").write_bytes(without_weights(file))


main()
