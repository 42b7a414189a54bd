"""check.py KILN FOLDER [NAME...]: exports networks, and compares kiln with onnxruntime on the same images of noise."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from PIL import Image

# Keras exports through PyTorch's exporter with this backend.
os.environ["KERAS_BACKEND"] = "torch"

IMAGES = 8
# Largest difference of the logits of an image, as a part of the largest: of floats, of halves.
TOLERANCE = {"": 1e-4, "fp16": 1e-2}


@dataclasses.dataclass(frozen=True)
class Case:
    network: str
    # Height and width of its images.
    size: int
    # An opset of PyTorch's legacy exporter; or dynamo's or Keras's, with their defaults.
    exporter: str = "17"
    # What is done to the file or the network.
    variant: str = ""
    # Whether the batch is open.
    is_open: bool = True

    @property
    def name(self):
        parts = [self.network, self.exporter, self.variant, "" if self.is_open else "one"]
        return "-".join(part for part in parts if part)


CASES = [
    Case("resnet18", 96, "13"),
    Case("resnet18", 96, "20"),
    Case("resnet18", 96, "dynamo"),
    Case("resnet18", 96, "17", "", False),
    Case("resnet18", 96, "17", "fp16"),
    Case("resnet18", 96, "17", "fp16_inside"),
    Case("resnet18", 96, "17", "bf16"),
    Case("mobilenet_v2", 96, "dynamo", "bf16"),
    Case("resnet18", 96, "17", "softmax"),
    Case("resnet18", 96, "17", "uint8"),
    Case("resnet18", 96, "17", "qdq"),
    Case("resnet18", 96, "17", "train"),
    Case("resnet50", 96, "dynamo"),
    Case("resnet50", 96, "17", "qdq"),
    Case("resnext50_32x4d", 96, "17"),
    Case("wide_resnet50_2", 96, "dynamo"),
    Case("regnet_y_400mf", 96, "13"),
    Case("regnet_x_400mf", 96, "dynamo"),
    Case("mobilenet_v2", 96, "17"),
    Case("mobilenet_v2", 96, "dynamo"),
    Case("mobilenet_v2", 96, "17", "qdq"),
    Case("mobilenet_v2", 96, "17", "dynamic_int8"),
    Case("mobilenet_v3_small", 96, "13"),
    Case("mobilenet_v3_large", 96, "dynamo"),
    Case("mobilenet_v3_large", 96, "17", "fp16"),
    Case("mnasnet1_0", 96, "17"),
    Case("efficientnet_b0", 96, "17"),
    Case("efficientnet_b0", 96, "dynamo"),
    Case("efficientnet_v2_s", 96, "dynamo"),
    Case("convnext_tiny", 96, "17"),
    Case("convnext_tiny", 96, "dynamo"),
    Case("swin_t", 224, "17"),
    Case("swin_t", 224, "dynamo"),
    Case("vit_b_32", 224, "17"),
    Case("vit_b_32", 224, "dynamo"),
    Case("maxvit_t", 224, "dynamo"),
    Case("densenet121", 96, "17"),
    Case("densenet121", 96, "dynamo"),
    Case("googlenet", 96, "17"),
    Case("inception_v3", 139, "dynamo"),
    Case("shufflenet_v2_x1_0", 96, "17"),
    Case("shufflenet_v2_x1_0", 96, "dynamo"),
    Case("squeezenet1_1", 96, "dynamo"),
    Case("vgg11_bn", 96, "dynamo"),
    Case("alexnet", 224, "17"),
    Case("timm:deit_tiny_patch16_224", 224, "17"),
    Case("timm:deit_tiny_patch16_224", 224, "dynamo"),
    Case("timm:efficientnet_lite0", 96, "dynamo"),
    Case("timm:mobilevit_xxs", 128, "17"),
    Case("timm:levit_128s", 224, "17"),
    Case("timm:mixer_s32_224", 224, "dynamo"),
    Case("timm:ghostnet_100", 96, "17"),
    Case("timm:edgenext_xx_small", 128, "dynamo"),
    Case("timm:repvgg_a0", 96, "17"),
    Case("timm:hrnet_w18_small", 96, "17"),
    Case("hf:vit", 224, "dynamo"),
    Case("hf:convnextv2", 96, "17"),
    Case("hf:mobilenet_v2", 96, "dynamo"),
    Case("keras:MobileNetV2", 96, "keras", "softmax"),
    Case("keras:ResNet50V2", 96, "keras", "softmax"),
    Case("keras:EfficientNetB0", 96, "keras", "softmax"),
    Case("keras:DenseNet121", 96, "keras", "softmax"),
    Case("keras:InceptionV3", 96, "keras", "softmax"),
]


def build(network):
    """Returns a network with seeded random weights, and with statistics as a trained one has them: not 0 and 1."""
    import torch

    torch.manual_seed(7)
    library, _, name = network.rpartition(":")
    if library == "timm":
        import timm

        model = timm.create_model(name, pretrained=False)
    elif library == "hf":
        model = hugging_face(name)
    else:
        import torchvision

        # The default initialization of these two takes half a minute.
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        if options:
            options["aux_logits"] = True
        model = getattr(torchvision.models, name)(weights=None, **options)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm1d)):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
        # Some classifiers begin with zeros, and so give the same for every image.
        if isinstance(module, torch.nn.Linear) and not module.weight.any():
            torch.nn.init.normal_(module.weight, std=0.02, generator=generator)
    return model.eval()


def hugging_face(name):
    import torch
    import transformers

    configs = {
        "vit": transformers.ViTConfig(hidden_size=192, num_hidden_layers=4, num_attention_heads=3, intermediate_size=768, num_labels=10),
        "convnextv2": transformers.ConvNextV2Config(depths=[1, 1, 2, 1], hidden_sizes=[40, 80, 160, 320], num_labels=10),
        "mobilenet_v2": transformers.MobileNetV2Config(num_labels=10),
    }

    class Scores(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = transformers.AutoModelForImageClassification.from_config(configs[name])

        def forward(self, pixel_values):
            return self.model(pixel_values=pixel_values).logits

    return Scores()


def export_keras(case, path):
    import keras

    keras.utils.set_random_seed(7)
    name = case.network.removeprefix("keras:")
    # The axes are batch, height, width, channels; the graph ends in a softmax.
    model = getattr(keras.applications, name)(weights=None, input_shape=(case.size, case.size, 3), classes=10)
    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            mean, variance = layer.moving_mean, layer.moving_variance
            mean.assign(random.normal(0, 0.1, mean.shape))
            variance.assign(random.uniform(0.5, 1.5, variance.shape))
    model(np.zeros((1, case.size, case.size, 3), np.float32))
    model.export(str(path), format="onnx", verbose=False)


def export(case, path):
    if case.exporter == "keras":
        export_keras(case, path)
        return
    import torch

    model = build(case.network)
    if case.variant == "softmax":
        model = torch.nn.Sequential(model, torch.nn.Softmax(1))
    if case.variant == "train":
        # A forgotten model.eval(): what kiln is to repair. The exporter runs the network once, which is not to change it.
        for module in model.train().modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 0.0
    image = torch.rand(1 if not case.is_open else 2, 3, case.size, case.size)
    if case.variant.startswith("bf16"):
        model = model.bfloat16()
        # `bf16_weights` computes with the same weights in float32.
        model, image = (model, image.bfloat16()) if case.variant == "bf16" else (model.float(), image)
    if case.exporter == "dynamo":
        shapes = ({0: torch.export.Dim("batch")},) if case.is_open else None
        torch.onnx.export(model, (image,), path, dynamo=True, dynamic_shapes=shapes)
        return
    axes = {"input": {0: "batch"}, "output": {0: "batch"}} if case.is_open else None
    mode = torch.onnx.TrainingMode.TRAINING if case.variant == "train" else torch.onnx.TrainingMode.EVAL
    torch.onnx.export(
        model, (image,), path, dynamo=False, opset_version=int(case.exporter), dynamic_axes=axes, training=mode,
        do_constant_folding=case.variant != "train", input_names=["input"], output_names=["output"],
    )  # fmt: skip


class Calibration:
    def __init__(self, name, size):
        images = np.random.default_rng(3).random((4, 1, 3, size, size), np.float32)
        self.images = iter([{name: image} for image in images])

    def get_next(self):
        return next(self.images, None)


def change(case, path):
    """Does to an exported file what its users do."""
    if case.variant.startswith("fp16"):
        from onnxconverter_common import float16

        onnx.save(float16.convert_float_to_float16(onnx.load(path), keep_io_types=case.variant == "fp16_inside"), path)
    elif case.variant == "qdq":
        from onnxruntime.quantization import quantize_static

        quantize_static(path, path, Calibration("input", case.size), per_channel=True)
    elif case.variant == "dynamic_int8":
        from onnxruntime.quantization import quantize_dynamic

        quantize_dynamic(path, path)
    elif case.variant == "uint8":
        model = onnx.load(path)
        graph = model.graph
        scaled = helper.make_node("Mul", ["cast", "scale"], ["input"])
        graph.node.insert(0, scaled)
        graph.node.insert(0, helper.make_node("Cast", ["pixels"], ["cast"], to=TensorProto.FLOAT))
        graph.initializer.append(helper.make_tensor("scale", TensorProto.FLOAT, [], [1 / 255]))
        graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 3, case.size, case.size]))
        onnx.save(model, path)


def file_of(case, folder):
    path = folder / case.name.replace(":", "_") / "model.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name("part.onnx")
        export(case, part)
        change(case, part)
        # The names of files with weights are in the model.
        model = onnx.load(part)
        data = part.with_name("part.onnx.data")
        if data.exists():
            data.unlink()
            onnx.save(model, path, save_as_external_data=True, location="model.onnx.data", size_threshold=1024)
            part.unlink()
        else:
            part.rename(path)
    return path


def logits(probabilities):
    """The logits, but for a number that is the same for all of an image: those of random weights hardly differ in probability."""
    logarithms = np.log(np.maximum(probabilities, 1e-30))
    return logarithms - logarithms.mean(1, keepdims=True)


def softmax(scores):
    exponentials = np.exp(scores - scores.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def expected(case, file, images):
    model = onnx.load(file)
    if case.variant == "train":
        # What the file would be after model.eval(), by its exporter.
        plain = dataclasses.replace(case, variant="")
        file = file_of(plain, file.parents[1])
    if case.variant == "bf16":
        # onnxruntime's CPU provider has no convolution of bfloat16.
        file = file_of(dataclasses.replace(case, variant="bf16_weights"), file.parents[1])
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (taken,) = [it for it in session.get_inputs()]
    if case.variant == "uint8":
        values = images
    else:
        values = images.astype(np.float32) * np.float32(1 / 255)
        if case.exporter == "keras":
            values = values.transpose(0, 2, 3, 1)
        if taken.type == "tensor(float16)":
            values = values.astype(np.float16)
    # One by one: of dynamic quantization, the scores depend on the batch.
    scores = np.concatenate([session.run(None, {taken.name: image[None]})[0] for image in values]).astype(np.float64)
    return scores if case.variant == "softmax" else softmax(scores)


def found(kiln, case, file, paths, engine):
    options = [] if case.variant == "uint8" else ["--preprocess", "unit"]
    if case.variant == "dynamic_int8":
        options += ["--batch-size", "1"]
    command = [kiln, "--quiet", "predict", file, *paths, "--channels", "rgb", "--engine", engine, "--json", "--top-k", "1000", *options]
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600)
    if ended.returncode:
        return None, ended.stderr.strip().splitlines()[0]
    _, *records = [json.loads(line) for line in ended.stdout.splitlines()]
    rows = []
    for record in records:
        row = np.zeros(len(record["top"]))
        for top in record["top"]:
            row[top["index"]] = top["probability"]
        rows.append(row)
    return np.array(rows), None


def main():
    kiln, folder, names = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    wrong = []
    print("| network | exporter | file | tract | ONNX Runtime |\n| --- | --- | --- | --- | --- |", flush=True)
    for case in CASES:
        if names and not any(name in case.name for name in names):
            continue
        try:
            file = file_of(case, folder)
        except Exception as error:
            wrong.append(f"{case.name} is not exported: {str(error).splitlines()[0]}")
            continue
        cells = []
        with tempfile.TemporaryDirectory() as images_folder:
            images = np.random.default_rng(5).integers(0, 256, (IMAGES, case.size, case.size, 3), np.uint8)
            # Noise alone is one picture to a network: give each its own color and structure.
            for number, image in enumerate(images):
                image[...] = (image.astype(int) * (number + 1) // IMAGES + number * 13 % 100).clip(0, 255)
                image[:: number + 2, :, number % 3] = 255
            paths = []
            for number, image in enumerate(images):
                paths.append(Path(images_folder) / f"{number}.png")
                Image.fromarray(image).save(paths[-1])
            right = expected(case, file, images.transpose(0, 3, 1, 2))
            for engine in ("tract", "ort"):
                got, refusal = found(kiln, case, file, paths, engine)
                if refusal:
                    cells.append(refusal.split("refuses the model: ")[-1].split("cannot load ")[-1].replace("|", "/")[:160])
                    wrong.append(f"{case.name} on {engine}: {refusal}")
                    continue
                wanted = logits(right)
                difference = (np.abs(logits(got) - wanted).max(1) / np.abs(wanted).max(1)).max()
                same = int((got.argmax(1) == right.argmax(1)).sum())
                cells.append(f"{difference:.1e}" + ("" if same == IMAGES else f", same class for {same} of {IMAGES}"))
                allowed = TOLERANCE["fp16" if case.variant.startswith(("fp16", "bf16")) else ""]
                is_quantized = case.variant in ("qdq", "dynamic_int8")
                if (is_quantized and same < IMAGES) or (not is_quantized and not difference <= allowed):
                    wrong.append(f"{case.name} on {engine}: differs by {difference:.1e}, same class for {same} of {IMAGES}")
        exporter = f"opset {case.exporter}" if case.exporter.isdigit() else case.exporter
        kinds = [case.variant.replace("_", " "), "" if case.is_open else "batch of 1", "weights beside it" if file.with_name("model.onnx.data").exists() else ""]
        print(f"| {case.network.replace(':', ' ')} | {exporter} | {', '.join(kind for kind in kinds if kind)} | {cells[0]} | {cells[1]} |", flush=True)
    for line in wrong:
        print(f"WRONG: {line}")
    if wrong:
        sys.exit(f"{len(wrong)} differences or refusals")


main()
