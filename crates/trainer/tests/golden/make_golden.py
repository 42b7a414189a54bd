"""Runs each kind of layer in Keras and writes inputs, weights and outputs as layers.json, in kiln's layouts.

python3 -m venv venv && venv/bin/pip install -r requirements.txt && venv/bin/python make_golden.py
"""

import json
import os
import pathlib

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras  # noqa: E402
import numpy  # noqa: E402
from keras import layers, ops  # noqa: E402

HEIGHT, WIDTH, CHANNELS = 11, 9, 3

# The layer in a recipe, and in Keras.
CASES = [
    ('{ type = "conv2d", filters = 3, kernel_size = [3, 4], strides = 2, padding = "same" }',
     layers.Conv2D(3, (3, 4), strides=2, padding="same")),
    ('{ type = "conv2d", filters = 3, kernel_size = [2, 5], strides = [3, 2], padding = "same", activation = "relu" }',
     layers.Conv2D(3, (2, 5), strides=(3, 2), padding="same", activation="relu")),
    ('{ type = "conv2d", filters = 4, kernel_size = [2, 3], dilation_rate = [2, 3], padding = "same" }',
     layers.Conv2D(4, (2, 3), dilation_rate=(2, 3), padding="same")),
    ('{ type = "conv2d", filters = 6, kernel_size = 2, groups = 3, use_bias = false }',
     layers.Conv2D(6, 2, groups=3, use_bias=False)),
    ('{ type = "conv2d", filters = 2, kernel_size = 3, activation = "gelu" }', layers.Conv2D(2, 3, activation="gelu")),
    ('{ type = "max_pool", pool_size = [3, 2], strides = [2, 3] }', layers.MaxPooling2D((3, 2), (2, 3))),
    ('{ type = "avg_pool", pool_size = [3, 2], strides = [2, 3] }', layers.AveragePooling2D((3, 2), (2, 3))),
    ('{ type = "max_pool", pool_size = [3, 2], strides = [2, 3], padding = "same" }',
     layers.MaxPooling2D((3, 2), (2, 3), padding="same")),
    ('{ type = "max_pool", pool_size = 4, strides = 2, padding = "same" }',
     layers.MaxPooling2D(4, 2, padding="same")),
    ('{ type = "avg_pool", pool_size = [3, 2], strides = [2, 3], padding = "same" }',
     layers.AveragePooling2D((3, 2), (2, 3), padding="same")),
    ('{ type = "avg_pool", pool_size = 4, strides = 2, padding = "same" }',
     layers.AveragePooling2D(4, 2, padding="same")),
    ('{ type = "global_max_pool" }', layers.GlobalMaxPooling2D()),
    ('{ type = "global_avg_pool" }', layers.GlobalAveragePooling2D()),
    ('{ type = "channel_max" }', layers.Lambda(lambda x: ops.max(x, axis=-1, keepdims=True))),
    ('{ type = "resize", height = 7, width = 20 }', layers.Resizing(7, 20, interpolation="bilinear")),
    ('{ type = "resize", height = 22, width = 5, interpolation = "nearest" }',
     layers.Resizing(22, 5, interpolation="nearest")),
    ('{ type = "batch_norm" }', layers.BatchNormalization()),
    ('{ type = "batch_norm", epsilon = 0.1 }', layers.BatchNormalization(epsilon=0.1)),
    ('{ type = "relu" }', layers.ReLU()),
    ('{ type = "activation", activation = "leaky_relu" }', layers.Activation("leaky_relu")),
    ('{ type = "activation", activation = "sigmoid" }', layers.Activation("sigmoid")),
    ('{ type = "activation", activation = "tanh" }', layers.Activation("tanh")),
    ('{ type = "activation", activation = "gelu" }', layers.Activation("gelu")),
    ('{ type = "activation", activation = "silu" }', layers.Activation("silu")),
    ('{ type = "dropout", rate = 0.5 }', layers.Dropout(0.5)),
    # kiln flattens in ONNX's order: channels, rows, columns.
    ('{ type = "flatten" }, { type = "dense", units = 4, activation = "silu" }',
     keras.Sequential([layers.Permute((3, 1, 2)), layers.Flatten(), layers.Dense(4, activation="silu")])),
]  # fmt: skip


def weights(layer, random) -> dict[str, numpy.ndarray]:
    """Gives a layer random weights, none of them special; returns them by kiln's names and layouts."""
    found = {}
    for variable in layer.weights:
        values = random.uniform(-1, 1, variable.shape).astype(numpy.float32)
        name = variable.name
        if name == "moving_variance":
            values = numpy.abs(values) + 0.2
        variable.assign(values)
        match name:
            case "kernel" if values.ndim == 4:
                found["weight"] = values.transpose(3, 2, 0, 1)
            case "kernel":
                found["weight"] = values.T
            case "gamma":
                found["weight"] = values
            case "bias" | "beta":
                found["bias"] = values
            case "moving_mean":
                found["running_mean"] = values
            case "moving_variance":
                found["running_var"] = values
    return found


def rounded(values: numpy.ndarray) -> list[float]:
    """Nine digits give an f32 back exactly."""
    return [float(f"{value:.9g}") for value in values.ravel()]


def main() -> None:
    random = numpy.random.default_rng(1)
    cases = []
    for recipe, layer in CASES:
        image = random.uniform(-2, 2, (2, HEIGHT, WIDTH, CHANNELS)).astype(numpy.float32)
        layer(image)
        parameters = weights(layer, random)
        output = ops.convert_to_numpy(layer(image, training=False))
        if output.ndim == 4:
            output = output.transpose(0, 3, 1, 2)
        cases.append({
            "layers": recipe,
            "input": rounded(image.transpose(0, 3, 1, 2)),
            "weights": {name: {"shape": values.shape, "data": rounded(values)} for name, values in parameters.items()},
            "output": rounded(output),
        })
    path = pathlib.Path(__file__).parent / "layers.json"
    lines = ",\n".join(json.dumps(case) for case in cases)
    path.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
