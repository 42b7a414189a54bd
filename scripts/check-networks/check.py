"""check.py PROGRAM: exports recipes by the program `export` with the weights of PyTorch's modules, and compares the scores of ONNX
Runtime with PyTorch's."""

import ast
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import timm
import torch
import torchvision
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional as F

# Largest difference of scores, as a part of the largest score.
TOLERANCE = 1e-4

TORCHVISION = ["resnet18", "resnet34", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0",
               "convnext_tiny"]


def randomize(model):
    """Draws statistics and parameters that normalization begins with as the identity, and biases."""
    for module in model.modules():
        for name, low, high in [("running_mean", -0.2, 0.2), ("running_var", 0.5, 1.5), ("layer_scale", 0.1, 0.5)]:
            tensor = getattr(module, name, None)
            if tensor is not None:
                tensor.data.uniform_(low, high)
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            module.weight.data.uniform_(0.7, 1.3)
            module.bias.data.uniform_(-0.2, 0.2)
        elif getattr(module, "bias", None) is not None:
            module.bias.data.uniform_(-0.2, 0.2)
    return model.eval()


def parameters(program, recipe):
    """Returns shapes and initial values of the recipe's parameters by name, in order."""
    lines = subprocess.run([program, recipe], check=True, capture_output=True, text=True).stdout.splitlines()
    found = (line.split("\t") for line in lines)
    return {name: (ast.literal_eval(shape), init) for name, shape, init in found}


def deviation(init):
    """Returns the standard deviation of initial values."""
    kind, *numbers = re.findall(r"[A-Za-z]\w+|[\d.e-]+", init.replace("stddev:", "").replace("limit:", ""))
    if kind in ["Normal", "TruncatedNormal", "Uniform"]:
        factor = {"Normal": 1, "TruncatedNormal": 0.87962566, "Uniform": 3**-0.5}[kind]
        return factor * float(numbers[0])
    assert kind in ["Zeros", "Ones", "Filled"], init
    return 0.0


def check_initial_values(program, what, recipe, model, mapping):
    """Compares the distributions that weights are drawn from."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.toml"
        path.write_text(recipe)
        expected = parameters(program, path)
    compared = 0
    for name, tensor in mapping(model, expected).items():
        ours = deviation(expected[name][1])
        # torchvision leaves the bias of ResNet's last layer to PyTorch's default.
        if tensor.numel() > 1000 and name != "fc.bias":
            theirs = tensor.std().item()
            # Truncation at two standard deviations, or at two.
            tolerance = 0.13 if "Truncated" in expected[name][1] else 0.06
            assert abs(ours - theirs) <= tolerance * theirs, (what, name, ours, theirs)
            compared += 1
    print(f"{what:24} {compared:4} tensors are drawn as torchvision's")


def by_name(model, expected):
    """Maps tensors by their names, with dots and underscores the same."""
    def plain(name):
        return name.replace(".", "_")

    tensors = {plain(name): tensor for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    names = {plain(name.replace("layer_scale.weight", "layer_scale")): name for name in expected}
    assert tensors.keys() == names.keys(), tensors.keys() ^ names.keys()
    return {name: tensors[plain_name] for plain_name, name in names.items()}


def by_order(model, expected):
    """Maps tensors by the order of the modules that have some."""
    modules = [module for module in model.modules() if next(module.parameters(recurse=False), None) is not None]
    names = list(dict.fromkeys(name.rpartition(".")[0] for name in expected))
    assert len(modules) == len(names), (len(modules), len(names))
    places = dict(zip(names, modules))
    return {name: getattr(places[name.rpartition(".")[0]], name.rpartition(".")[2]) for name in expected}


def check(program, what, recipe, model, mapping, size):
    """Compares scores for three random images."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "recipe.toml").write_text(recipe)
        expected = parameters(program, folder / "recipe.toml")
        tensors = mapping(model, expected)
        # Dense layers over the channels of each pixel are 1x1 convolutions.
        weights = {name: tensor.detach().numpy().reshape(expected[name][0]).copy() for name, tensor in tensors.items()}
        save_file(weights, folder / "weights.safetensors")
        output = folder / "model.onnx"
        subprocess.run([program, folder / "recipe.toml", folder / "weights.safetensors", output], check=True)
        proto = onnx.load(output)
        onnx.checker.check_model(proto, full_check=True)
        assert not any(node.op_type == "BatchNormalization" for node in proto.graph.node), "not folded"
        session = onnxruntime.InferenceSession(output)
    torch.manual_seed(1)
    images = torch.randn(3, 3, size, size)
    with torch.no_grad():
        theirs = model(images).numpy()
    (ours,) = session.run(None, {"input": images.numpy()})
    difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
    print(f"{what:24} {len(proto.graph.node):4} nodes, difference {difference:.1e}")
    assert theirs.shape == ours.shape and np.isfinite(theirs).all() and np.ptp(theirs) > 1e-3
    assert difference < TOLERANCE, what


def network(name, size, stem=None):
    stem = f'\nstem = "{stem}"' if stem else ""
    return f'{data(size)}\n[network]\nname = "{name}"\nclasses = 1000{stem}\n'


def data(size):
    return f'[input]\nheight = {size}\nwidth = {size}\nchannels = "rgb"\n[data]\nfolder = "nowhere"\n'


def small_resnet18():
    """As many adapt it to images of 32 pixels."""
    model = torchvision.models.resnet18()
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


class Layers(nn.Module):
    """The layers of LAYERS."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5, stride=2, padding=(1, 2))
        self.depthwise = nn.Conv2d(8, 16, 3, groups=8)
        self.bn = nn.BatchNorm2d(16, eps=1e-3)
        self.separable = nn.ModuleList([nn.Conv2d(16, 16, 3, stride=2, groups=16, bias=False), nn.Conv2d(16, 12, 1)])
        self.left = nn.Conv2d(12, 4, 1)
        self.right = nn.ModuleList([nn.Conv2d(12, 6, 3, bias=False), nn.BatchNorm2d(6, eps=1e-3)])
        self.squeeze = nn.ModuleList([nn.Conv2d(22, 5, 1), nn.Conv2d(5, 22, 1)])
        self.norm = nn.LayerNorm(22, eps=1e-3)
        self.vector_norm = nn.LayerNorm(22, eps=1e-6)
        self.dense = nn.Linear(22, 7)

    def forward(self, x):
        x = F.hardswish(self.stem(x))
        x = F.max_pool2d(x, 3, 2, padding=1, ceil_mode=True)
        x = F.relu6(self.bn(self.depthwise(x)))
        # TensorFlow's padding for an even number of pixels: below and to the right.
        x = F.silu(self.separable[1](self.separable[0](F.pad(x, (0, 1, 0, 1)))))
        right = self.right[1](self.right[0](F.pad(x, (1, 1, 1, 1))))
        x = torch.cat([x, F.gelu(self.left(x)), right], 1)
        factors = self.squeeze[1](F.leaky_relu(self.squeeze[0](x.mean((2, 3), keepdim=True)), 0.2))
        x = x * F.hardsigmoid(factors)
        x = F.avg_pool2d(x, 3, 1, padding=1, count_include_pad=True)
        x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
        x = x * torch.tanh(x) * x
        return self.dense(self.vector_norm(x.amax((2, 3))))


LAYERS = """
layers = [
  { type = "conv2d", filters = 8, kernel_size = 5, strides = 2, padding = [1, 2], activation = "hard_swish" },
  { type = "max_pool", pool_size = 3, strides = 2, padding = 1, ceil_mode = true },
  { type = "depthwise_conv2d", kernel_size = 3, depth_multiplier = 2 },
  { type = "batch_norm" },
  { type = "activation", activation = "relu6" },
  { type = "separable_conv2d", filters = 12, kernel_size = 3, strides = 2, padding = "same", activation = "silu" },
  { type = "branches", join = "concatenate", branches = [
    [],
    [{ type = "conv2d", filters = 4, kernel_size = 1, activation = "gelu" }],
    [{ type = "sequential", layers = [
      { type = "conv2d", filters = 6, kernel_size = 3, padding = "same", use_bias = false },
      { type = "dropout", rate = 0.5 },
      { type = "batch_norm" },
    ] }],
  ] },
  { type = "squeeze_excite", units = 5, activation = "leaky_relu", gate = "hard_sigmoid" },
  { type = "avg_pool", pool_size = 3, strides = 1, padding = 1, count_include_pad = true },
  { type = "layer_norm" },
  { type = "avg_pool", ceil_mode = true },
  { type = "branches", join = "multiply", branches = [[], [{ type = "activation", activation = "tanh" }],
    [{ type = "dropout", rate = 0.5 }]] },
  { type = "global_max_pool" },
  { type = "layer_norm", epsilon = 1e-6 },
  { type = "dense", units = 7 },
]
"""


def main():
    (program,) = sys.argv[1:]
    torch.manual_seed(0)
    check(program, "layers", LAYERS + data(62), randomize(Layers()), by_order, 62)
    for name in TORCHVISION:
        model = torchvision.models.get_model(name)
        check_initial_values(program, name, network(name, 224), model, by_name)
        check(program, name, network(name, 224), randomize(model), by_name, 224)
    model = randomize(timm.create_model("tf_efficientnet_lite0"))
    check(program, "efficientnet_lite0", network("efficientnet_lite0", 224), model, by_order, 224)
    # Of an odd size, where the paddings differ.
    check(program, "efficientnet_lite0, 197", network("efficientnet_lite0", 197), model, by_order, 197)
    check(program, "resnet18, small", network("resnet18", 32, "small"), randomize(small_resnet18()), by_name, 32)


if __name__ == "__main__":
    main()
