"""Compares the figures of `kiln eval` with scikit-learn's of the same probabilities, and these with onnxruntime's.

    check.py MODEL LIST PREDICTIONS FIGURES [--scores]
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    hamming_loss,
    precision_score,
    recall_score,
)

EXACT = 1e-9
SCORES = 1e-5


def close(what: str, found: float, expected: float, allowed: float = EXACT) -> None:
    if not abs(found - expected) <= allowed:
        sys.exit(f"{what}: kiln {found!r}, here {expected!r}")


def main(model: str, listed: str, predictions: str, figures: str, scores: bool) -> None:
    figures = json.loads(Path(figures).read_text())
    names = [entry["label"] for entry in figures["classes"]]
    with open(predictions, newline="") as file:
        rows = list(csv.DictReader(file))
    with open(listed, newline="") as file:
        truths = [set(filter(None, row["labels"].split("|"))) for row in csv.DictReader(file)]
    if len(rows) != len(truths):
        sys.exit(f"{len(rows)} predictions of {len(truths)} images")
    truth = np.array([[name in found for name in names] for found in truths])
    # Nine digits are those of a f32.
    probabilities = np.array([[np.float32(row[f"p_{name}"]) for name in names] for row in rows])
    thresholds = np.array([entry["threshold"] for entry in figures["classes"]], np.float32)
    predicted = probabilities > thresholds

    per_class = average_precision_score(truth, probabilities, average=None)
    for entry, precision, column in zip(figures["classes"], per_class, range(len(names))):
        close(f"average precision of {entry['label']}", entry["average_precision"], precision)
        one = truth[:, column], predicted[:, column]
        close(f"F1 of {entry['label']}", entry["f1"], f1_score(*one, zero_division=0))
        close(f"precision of {entry['label']}", entry["precision"], precision_score(*one, zero_division=0))
        close(f"recall of {entry['label']}", entry["recall"], recall_score(*one, zero_division=0))
        best = f1_score(one[0], probabilities[:, column] > np.float32(entry["best_threshold"]))
        close(f"best F1 of {entry['label']}", entry["best_f1"], best)
        grid = max(f1_score(one[0], probabilities[:, column] > value) for value in np.unique(probabilities[:, column]))
        if grid > best + EXACT:
            sys.exit(f"{entry['label']}: an F1 of {grid} is possible, found {best}")
    close("mean average precision", figures["mean_average_precision"], per_class.mean())
    close("macro F1", figures["macro_average"]["f1"], f1_score(truth, predicted, average="macro", zero_division=0))
    close("micro F1", figures["micro_average"]["f1"], f1_score(truth, predicted, average="micro", zero_division=0))
    close("exact matches", figures["exact_matches"], accuracy_score(truth, predicted))
    close("Hamming loss", figures["hamming_loss"], hamming_loss(truth, predicted))

    largest = 0.0
    if scores:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        images = [np.asarray(Image.open(Path(listed).parent / row["path"]), np.float32) for row in rows]
        batch = np.stack(images)[:, None] / np.float32(255)
        logits = session.run(None, {session.get_inputs()[0].name: batch})[0].astype(np.float64)
        largest = np.abs(1 / (1 + np.exp(-logits)) - probabilities).max()
        close("largest difference of a probability", largest, 0, SCORES)
    print(
        f"{model}: {len(rows)} images, {len(names)} classes, mean average precision {per_class.mean():.4f} as scikit-learn's"
        + (f", probabilities within {largest:.1e} of onnxruntime's" if scores else "")
    )


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--scores"]
    main(*arguments, scores="--scores" in sys.argv)
