"""Puts a model into 8 bits with onnxruntime's quantizer, with calibration images as an array on disk."""

import argparse
import pathlib
import tempfile
import time

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


class Images(CalibrationDataReader):
    def __init__(self, name: str, images: np.ndarray):
        self.rest = iter([{name: image[None]} for image in images])

    def get_next(self):
        return next(self.rest, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--method", choices=METHODS, default="minmax")
    args = parser.parse_args()
    images = np.load(args.images, mmap_mode="r")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        prepared = pathlib.Path(folder) / "prepared.onnx"
        quant_pre_process(args.model, prepared)
        reader = Images(onnx.load(args.model).graph.input[0].name, images)
        quantize_static(
            prepared,
            args.output,
            reader,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=METHODS[args.method],
        )
    print(f"{time.perf_counter() - start:.1f}")
    # The quantizer drops the metadata, by which kiln knows how images are prepared.
    small, original = onnx.load(args.output), onnx.load(args.model)
    del small.metadata_props[:]
    small.metadata_props.extend(entry for entry in original.metadata_props if entry.key != "kiln.golden")
    onnx.save(small, args.output)


main()
