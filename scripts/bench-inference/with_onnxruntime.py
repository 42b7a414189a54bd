"""Runs a bare onnxruntime loop over prepared arrays and prints images per second."""

import argparse
import time

import numpy
import onnxruntime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("images", help="IDX file")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    pixels = numpy.fromfile(args.images, numpy.uint8, offset=16).reshape(-1, 1, 28, 28).astype(numpy.float32) / 255
    batches = [pixels[at : at + args.batch] for at in range(0, len(pixels), args.batch)]
    session.run(None, {name: batches[0]})
    start = time.perf_counter()
    for batch in batches:
        session.run(None, {name: batch})
    print(len(pixels) / (time.perf_counter() - start))


main()
