"""Classifies all PNG files in a folder with Pillow and onnxruntime; prints images per second and writes `path,class`."""

import argparse
import multiprocessing
import pathlib
import time

import numpy
import onnxruntime
from PIL import Image


def decode(paths: list[str]) -> numpy.ndarray:
    images = [numpy.asarray(Image.open(path), numpy.float32) for path in paths]
    return numpy.stack(images)[:, None] * numpy.float32(1 / 255)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("folder")
    parser.add_argument("output")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--workers", type=int, default=0, help="number of decoding processes, as in a DataLoader; 0: serial")
    args = parser.parse_args()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    shape = session.get_inputs()[0].shape[1:]
    session.run(None, {name: numpy.zeros((args.batch, *shape), numpy.float32)})
    pool = multiprocessing.Pool(args.workers) if args.workers else None
    if pool:
        pool.map(abs, range(args.workers))

    start = time.perf_counter()
    paths = sorted(str(path) for path in pathlib.Path(args.folder).rglob("*.png"))
    batches = [paths[at : at + args.batch] for at in range(0, len(paths), args.batch)]
    prepared = pool.imap(decode, batches) if pool else map(decode, batches)
    predicted = numpy.concatenate([session.run(None, {name: batch})[0].argmax(1) for batch in prepared])
    seconds = time.perf_counter() - start
    with open(args.output, "w") as file:
        file.writelines(f"{pathlib.Path(path).relative_to(args.folder)},{label}\n" for path, label in zip(paths, predicted))
    print(len(paths) / seconds)


if __name__ == "__main__":
    main()
