"""Makes scikit_learn.json and several.json: small fixed cases and what scikit-learn says about them.

    pip install scikit-learn==1.9.1 numpy==2.4.6
    python make.py

Eight classes, so that top-5 means something. Class 5 is never predicted and class 6 has no image, so that both
zero divisions happen; class 7 has no image and is never predicted, so that the averages leave it out. No two logits of
an image are equal: scikit-learn breaks ties in top-k by the highest class.
"""

import json
from pathlib import Path

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    hamming_loss,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

IMAGES, CLASSES = 60, 8
CASES = range(CLASSES)

random = np.random.default_rng(20_240_601)
truth = random.integers(0, CLASSES - 2, IMAGES)
logits = random.normal(0, 2, (IMAGES, CLASSES)).astype(np.float32)
logits[np.arange(IMAGES), truth] += np.float32(2.5)
logits[:, [5, 7]] -= np.float32(20)
assert all(len(set(row)) == CLASSES for row in logits.tolist())

exact = logits.astype(np.float64)
probabilities = np.exp(exact - exact.max(axis=1, keepdims=True))
probabilities /= probabilities.sum(axis=1, keepdims=True)
predicted = logits.argmax(axis=1)
assert 5 not in predicted and 6 in predicted and 5 in truth and 6 not in truth
assert 7 not in predicted and 7 not in truth


def scores(average, labels=None):
    return precision_recall_fscore_support(truth, predicted, labels=labels, average=average, zero_division=0)


precision, recall, f1, support = scores(None, CASES)
case = {
    "classes": CLASSES,
    "logits": [float(x) for x in logits.ravel()],
    "truth": truth.tolist(),
    "accuracy": accuracy_score(truth, predicted),
    "top5_accuracy": float(top_k_accuracy_score(truth, probabilities, k=5, labels=CASES)),
    "loss": float(log_loss(truth, probabilities, labels=CASES)),
    "precision": precision.tolist(),
    "recall": recall.tolist(),
    "f1": f1.tolist(),
    "support": support.tolist(),
    "macro": [float(x) for x in scores("macro")[:3]],
    "weighted": [float(x) for x in scores("weighted")[:3]],
    "confusion": confusion_matrix(truth, predicted, labels=CASES).tolist(),
}


def write(name, case):
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in case.items())
    Path(__file__).with_name(name).write_text("{\n" + lines + "\n}\n")


write("scikit_learn.json", case)

# Images with any number of five classes; rounded, so that probabilities are equal. Class 3 has no image.
random = np.random.default_rng(7)
truth = random.random((80, 5)) < [0.5, 0.2, 0.1, 0.0, 0.9]
probabilities = np.clip(random.normal(0.35 + 0.3 * truth, 0.2), 0, 1).astype(np.float32).round(2)
thresholds = np.array([0.5, 0.3, 0.6, 0.5, 0.4], np.float32)
decided = probabilities > thresholds
clipped = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
occurring = [label for label in range(5) if truth[:, label].any()]


def several(average):
    found = precision_recall_fscore_support(truth, decided, average=average, zero_division=0)
    return [np.asarray(x).tolist() for x in found[:3]]


write(
    "several.json",
    {
        "classes": 5,
        "probabilities": [float(x) for x in probabilities.ravel()],
        "truth": [np.flatnonzero(row).tolist() for row in truth],
        "thresholds": [float(x) for x in thresholds],
        "average_precision": [
            float(average_precision_score(truth[:, label], probabilities[:, label])) if label in occurring else None
            for label in range(5)
        ],
        "mean_average_precision": float(average_precision_score(truth[:, occurring], probabilities[:, occurring], average="macro")),
        "by_class": several(None),
        "macro": several("macro"),
        "micro": several("micro"),
        "exact_matches": float(accuracy_score(truth, decided)),
        "hamming_loss": float(hamming_loss(truth, decided)),
        "loss": float(-np.where(truth, np.log(clipped), np.log(1 - clipped)).mean()),
    },
)
