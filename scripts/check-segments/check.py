"""check.py PROGRAM FOLDER [FILE...]: compares what the program `run_segments` computes for each layer of a network with ONNX Runtime."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

# Largest difference of a layer's output, as a part of its largest value.
TOLERANCE = 1e-4

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
    """Returns a network with seeded random weights, and with statistics as a trained one has them: not 0 and 1."""
    import timm
    import torch
    import torchvision

    torch.manual_seed(7)
    # The default initialization of these two takes half a minute.
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if name in TIMM:
        model = timm.create_model(name, pretrained=False)
    else:
        model = getattr(torchvision.models, name)(weights=None, **options)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def exports():
    """Yields the names of networks, their image sizes and exporters."""
    for at, (name, size) in enumerate((TORCHVISION | TIMM).items()):
        for exporter in EXPORTERS if name in BY_ALL else [EXPORTERS[at % len(EXPORTERS)]]:
            yield name, size, "14" if exporter == "13" and name in ATTENTION else exporter


def export(name, size, exporter, folder):
    """Exports by the legacy exporter with this operator set, or by dynamo's."""
    import torch

    file = folder / f"{name}-{exporter}.onnx"
    if file.exists():
        return file
    arguments = {"f": file, "input_names": ["images"], "output_names": ["scores"]}
    if exporter == "dynamo":
        # One image would make the batch a constant.
        arguments |= {"dynamo": True, "external_data": False, "dynamic_shapes": ({0: torch.export.Dim("batch")},), "verbose": False}
    else:
        axes = {"images": {0: "batch"}, "scores": {0: "batch"}}
        arguments |= {"dynamo": False, "opset_version": int(exporter), "dynamic_axes": axes}
    torch.onnx.export(build(name), (torch.zeros(2, 3, size, size),), **arguments)
    return file


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
    """Compares all layers of a file."""
    model = onnx.load(file)
    name, images = images_for(model)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        images.tofile(folder / "images.f32")
        lines = subprocess.run([program, file, folder], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
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
    program, folder, *files = map(Path, sys.argv[1:])
    if files:
        for file in files:
            check(program, file)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, size, exporter in exports():
        check(program, export(name, size, exporter, folder))


if __name__ == "__main__":
    main()
