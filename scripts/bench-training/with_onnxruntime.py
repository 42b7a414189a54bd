"""Runs a model with Python's onnxruntime and prints images per second."""

import argparse
import time

import numpy
import onnxruntime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    batch = numpy.random.default_rng(0).random((64, *given.shape[1:]), numpy.float32)
    session.run(None, {given.name: batch})
    start = time.perf_counter()
    for _ in range(args.images // 64):
        session.run(None, {given.name: batch})
    print(args.images // 64 * 64 / (time.perf_counter() - start))


main()
