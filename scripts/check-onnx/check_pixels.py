"""Runs a file that kiln exported with --uint8-input in plain Python onnxruntime: no preprocessing, no softmax, no kiln.

usage: check_pixels.py MODEL.onnx PREDICTIONS.csv IMAGES SCHEMA

IMAGES is MNIST's t10k-images-idx3-ubyte; PREDICTIONS.csv is its output of `kiln eval --predictions`, for the same run
exported without --uint8-input; SCHEMA is docs/metadata.schema.json.
"""

import csv
import json
import sys

import numpy as np
import onnxruntime as ort

from check import check_file, check_metadata

model_path, predictions_path, images_path, schema_path = sys.argv[1:]
metadata = check_metadata(check_file(model_path), json.load(open(schema_path)))
assert (metadata["kiln.output"], metadata["kiln.preprocessing"]["scale"]) == ("probabilities", 1)
pixels = np.frombuffer(open(images_path, "rb").read()[16:], np.uint8).reshape(-1, 28, 28, 1)
session = ort.InferenceSession(model_path, providers=["CPUExecutionProvider"])
(probabilities,) = session.run(["probabilities"], {"input": pixels})

rows = list(csv.DictReader(open(predictions_path)))
assert len(rows) == len(pixels) == 10_000
columns = [name for name in rows[0] if name.startswith("p_")]
kiln = np.array([[float(row[name]) for name in columns] for row in rows])
difference = np.abs(kiln - probabilities).max()
assert difference < 1e-5, f"kiln's probabilities differ by {difference}"
same = sum("p_" + row["predicted"] == columns[at] for row, at in zip(rows, probabilities.argmax(1)))
assert same == len(rows), f"only {same} of {len(rows)} predictions agree"
print(f"{model_path}: pixels in; {same} of {len(rows)} predictions as in kiln, largest difference {difference:.1e}")
