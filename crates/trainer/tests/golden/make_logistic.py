"""Makes logistic.json: small images, and the logistic regressions that scikit-learn fits to their pixels.

    pip install scikit-learn==1.9.1 numpy==2.4.6
    python make_logistic.py

scikit-learn minimizes C * sum of losses + ||W||^2 / 2. Smoothed labels are images that count once for each class, by
the label's share of it.
"""

import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

IMAGES, SIZE, CLASSES = 60, [3, 4], 4
CASES = [
    {"penalty": 1.0},
    {"penalty": 0.01},
    {"penalty": 1e-4},
    {"penalty": 0.1, "smoothing": 0.2},
    {"penalty": 0.01, "factors": [1.0, 2.5, 0.5, 3.0]},
]

random = np.random.default_rng(20_261_128)
labels = random.integers(0, CLASSES, IMAGES)
centers = random.integers(60, 190, (CLASSES, *SIZE))
images = np.clip(centers[labels] + random.normal(0, 60, (IMAGES, *SIZE)), 0, 255).astype(np.uint8)
pixels = images.reshape(IMAGES, -1).astype(np.float64)
variance = pixels.var(axis=0).mean()


def fit(penalty, smoothing=0.0, factors=None):
    targets = np.full((IMAGES, CLASSES), smoothing / CLASSES)
    targets[np.arange(IMAGES), labels] += 1 - smoothing
    if factors:
        targets *= np.array(factors)[labels][:, None]
    model = LogisticRegression(C=1 / (penalty * IMAGES * variance), tol=1e-12, max_iter=100_000)
    # Newton's method, since it ends where the gradient is zero whatever the pixels' scale.
    model.set_params(solver="newton-cholesky")
    model.fit(np.repeat(pixels, CLASSES, axis=0), np.tile(np.arange(CLASSES), IMAGES), sample_weight=targets.ravel())
    loss = -(targets * np.log(model.predict_proba(pixels))).sum() / IMAGES
    return {
        "weight": model.coef_.ravel().tolist(),
        "bias": model.intercept_.tolist(),
        "loss": float(loss),
        "accuracy": float(model.score(pixels, labels)),
    }


golden = {
    "size": SIZE,
    "classes": CLASSES,
    "deviation": float(np.sqrt(variance)),
    "images": images.ravel().tolist(),
    "labels": labels.tolist(),
    "cases": [{"smoothing": 0.0, "factors": None} | case | fit(**case) for case in CASES],
}
Path(__file__).with_name("logistic.json").write_text(json.dumps(golden) + "\n")
