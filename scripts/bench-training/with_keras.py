"""Trains one network with Keras on TensorFlow and prints images per second in the second epoch."""

import argparse
import os
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import data  # noqa: E402
import keras  # noqa: E402
import tensorflow  # noqa: E402
from keras import layers  # noqa: E402


def cnn(kernel: int, filters: int) -> keras.Model:
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D(), layers.Dropout(0.5),
        layers.Conv2D(filters, kernel, activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D(),
        layers.Dropout(0.5),
        layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(10),
    ])  # fmt: skip


class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("network", help="kernel size x filters such as 5x64")
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()

    tensorflow.config.threading.set_intra_op_parallelism_threads(args.threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(args.threads)
    keras.utils.set_random_seed(0)
    images, labels = data.training(args.data, args.images)
    kernel, filters = map(int, args.network.split("x"))
    model = cnn(kernel, filters)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    clock = Clock()
    model.fit(images.transpose(0, 2, 3, 1), labels, batch_size=128, epochs=2, verbose=0, callbacks=[clock])
    print(args.images / clock.seconds)


main()
