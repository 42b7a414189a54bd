"""Trains a network of two dense layers in Keras, a step an epoch, by each optimizer with each kind of clipping and by each loss, and writes
weights and images as optimizers.json, in kiln's layouts.

venv/bin/python make_optimizers.py, in the environment of make_golden.py
"""

import json
import os
import pathlib

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras  # noqa: E402
import numpy  # noqa: E402
from keras import layers, losses, optimizers  # noqa: E402
from make_golden import rounded  # noqa: E402

HEIGHT, WIDTH, IMAGES, CLASSES, STEPS = 3, 2, 12, 10, 5

# The optimizer and schedule in a recipe, and in Keras, whose schedules count steps: one is an epoch here.
CASES = [
    ('optimizer = { type = "sgd", learning_rate = 0.05 }', lambda: optimizers.SGD(0.05)),
    ('optimizer = { type = "sgd", learning_rate = 0.05, clipnorm = 0.4 }', lambda: optimizers.SGD(0.05, clipnorm=0.4)),
    ('optimizer = { type = "sgd", learning_rate = 0.05, clipvalue = 0.1 }', lambda: optimizers.SGD(0.05, clipvalue=0.1)),
    ('optimizer = { type = "sgd", learning_rate = 0.05, global_clipnorm = 0.7 }',
     lambda: optimizers.SGD(0.05, global_clipnorm=0.7)),
    ('optimizer = { type = "sgd", learning_rate = 0.05, momentum = 0.9, nesterov = true, global_clipnorm = 1.5 }',
     lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True, global_clipnorm=1.5)),
    # Keras adds epsilon before the bias correction and kiln after it: here it is next to nothing.
    ('optimizer = { type = "adam", learning_rate = 0.02, epsilon = 1e-12, clipnorm = 0.4 }',
     lambda: optimizers.Adam(0.02, epsilon=1e-12, clipnorm=0.4)),
    ('optimizer = { type = "adam", learning_rate = 0.02, epsilon = 1e-12, clipvalue = 0.1 }',
     lambda: optimizers.Adam(0.02, epsilon=1e-12, clipvalue=0.1)),
    ('optimizer = { type = "adam", learning_rate = 0.02, epsilon = 1e-12, global_clipnorm = 1.5 }',
     lambda: optimizers.Adam(0.02, epsilon=1e-12, global_clipnorm=1.5)),
    ('optimizer = { type = "adamw", learning_rate = 0.02, epsilon = 1e-12, weight_decay = 0.1, global_clipnorm = 1.5 }',
     lambda: optimizers.AdamW(0.02, epsilon=1e-12, weight_decay=0.1, global_clipnorm=1.5)),
    # More than any norm: nothing is clipped.
    ('optimizer = { type = "adam", learning_rate = 0.02, epsilon = 1e-12, global_clipnorm = 1000 }',
     lambda: optimizers.Adam(0.02, epsilon=1e-12)),
    ('optimizer = { type = "sgd" }, schedule = { type = "piecewise_constant", boundaries = [1, 3], '
     'values = [0.05, 0.01, 0.1] }',
     lambda: optimizers.SGD(optimizers.schedules.PiecewiseConstantDecay([0, 2], [0.05, 0.01, 0.1]))),
    ('optimizer = { type = "lion", learning_rate = 0.02, weight_decay = 0.1 }',
     lambda: optimizers.Lion(0.02, weight_decay=0.1)),
    ('optimizer = { type = "lamb", learning_rate = 0.02, epsilon = 1e-12 }', lambda: optimizers.Lamb(0.02, epsilon=1e-12)),
]  # fmt: skip

# The loss in a recipe, and in Keras of one-hot labels.
LOSSES = [
    ('loss = "binary_crossentropy", label_smoothing = 0.1',
     lambda: losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1)),
    ('loss = { type = "binary_focal_crossentropy", gamma = 1.5 }',
     lambda: losses.BinaryFocalCrossentropy(from_logits=True, gamma=1.5)),
    ('loss = { type = "binary_focal_crossentropy", alpha = 0.25 }',
     lambda: losses.BinaryFocalCrossentropy(from_logits=True, apply_class_balancing=True)),
    ('loss = "categorical_focal_crossentropy"', lambda: losses.CategoricalFocalCrossentropy(from_logits=True)),
]  # fmt: skip
LOSS_RATE = 0.5


def main() -> None:
    random = numpy.random.default_rng(2)
    images = random.integers(0, 4, (IMAGES, HEIGHT, WIDTH, 1)).astype(numpy.uint8)
    labels = numpy.arange(IMAGES) % CLASSES
    shapes = {
        "dense.weight": (5, HEIGHT * WIDTH), "dense.bias": (5,), "dense_1.weight": (CLASSES, 5), "dense_1.bias": (CLASSES,),
    }  # fmt: skip
    start = {name: random.uniform(-1, 1, shape).astype(numpy.float32) for name, shape in shapes.items()}
    cases = []
    plain = lambda: losses.SparseCategoricalCrossentropy(from_logits=True)  # noqa: E731
    of_optimizers = [(recipe, optimizer, plain, labels) for recipe, optimizer in CASES]
    one_hot = numpy.eye(CLASSES, dtype=numpy.float32)[labels]
    of_losses = [
        (f'optimizer = {{ type = "sgd", learning_rate = {LOSS_RATE} }}, {recipe}', lambda: optimizers.SGD(LOSS_RATE), loss, one_hot)
        for recipe, loss in LOSSES
    ]
    for recipe, optimizer, loss, truth in of_optimizers + of_losses:
        model = keras.Sequential([layers.Flatten(), layers.Dense(5, activation="silu"), layers.Dense(CLASSES)])
        model.build((None, HEIGHT, WIDTH, 1))
        for variable, value in zip(model.trainable_variables, start.values()):
            variable.assign(value.T)
        model.compile(optimizer=optimizer(), loss=loss())
        for _ in range(STEPS):
            model.train_on_batch(images.astype(numpy.float32), truth)
        ends = [keras.ops.convert_to_numpy(variable).T for variable in model.trainable_variables]
        cases.append({"training": recipe, "weights": {name: rounded(end) for name, end in zip(start, ends)}})
    golden = {
        "size": [HEIGHT, WIDTH],
        "images": images.ravel().tolist(),
        "labels": labels.tolist(),
        "epochs": STEPS,
        "start": {name: {"shape": value.shape, "data": rounded(value)} for name, value in start.items()},
        "cases": cases,
    }
    (pathlib.Path(__file__).parent / "optimizers.json").write_text(json.dumps(golden, indent=1) + "\n")


main()
