"""Reads the files that kiln writes for other programs with these programs' own code."""

import numpy as np
import onnxruntime
from google.protobuf import text_format
from PIL import Image
from transformers import AutoImageProcessor
from tritonclient.grpc import model_config_pb2


def check(model, file, image, folder, describe):
    """Checks the files; `describe` runs kiln with more arguments, `image` is the path of an image of the model's size."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    config = folder / "triton" / "config.pbtxt"
    config.parent.mkdir()
    describe("--triton", config)
    triton(config, session, model.labels)
    if "bgr" in model.flags:
        return
    describe("--huggingface", folder / "preprocessor_config.json")
    huggingface(folder, image, model)


def triton(config, session, labels):
    parsed = text_format.Parse(config.read_text(), model_config_pb2.ModelConfig())
    assert parsed.platform == "onnxruntime_onnx" and parsed.max_batch_size > 0
    for found, expected in [(parsed.input, session.get_inputs()), (parsed.output, session.get_outputs())]:
        assert [tensor.name for tensor in found] == [tensor.name for tensor in expected]
        # Triton omits the batch.
        fixed = [(size, named) for size, named in zip(found[0].dims, expected[0].shape[1:]) if isinstance(named, int)]
        assert len(found[0].dims) == len(expected[0].shape) - 1 and all(size == named for size, named in fixed)
    assert (config.parent / parsed.output[0].label_filename).read_text().split("\n")[:-1] == labels


def huggingface(folder, image, model):
    processor = AutoImageProcessor.from_pretrained(folder)
    image = Image.open(image).convert("RGB")
    found = processor(image, return_tensors="np")["pixel_values"][0]
    if "nhwc" in model.flags:
        found = found.transpose(1, 2, 0)
    expected = model.prepare(np.asarray(image, np.float32))
    difference = np.abs(found - expected).max()
    assert found.shape == expected.shape and difference < 1e-5, f"{model.name}: {found.shape}, {difference}"
