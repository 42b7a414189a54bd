"""bench.py MODEL IMAGES [--count N] [--rounds N]: N image files through `Model.classify_batch`, and through Pillow, NumPy and onnxruntime
in a pool of as many processes as there are cores; in turns. Then the same files in two threads of one program, each with its own
half, beside one thread with all; the model has one thread. The model has to take images stretched to its size."""

import argparse
import os
import pathlib
import statistics
import threading
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import onnxruntime
from PIL import Image

import kiln

BATCH = 64
CORES = len(os.sched_getaffinity(0))


def load(path: str, record: dict, shape: tuple) -> None:
    """A process's session, and how an image becomes its input."""
    global session, prepare
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    channels, height, width = shape
    scale = np.array(record["scale"] if isinstance(record["scale"], list) else [record["scale"]] * channels, np.float32)
    mean = np.array(record["mean"], np.float32).reshape(-1)
    std = np.array(record["std"], np.float32).reshape(-1)

    def prepare(file: str) -> np.ndarray:
        image = Image.open(file).convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        values = np.asarray(image, np.float32).reshape(height, width, channels)
        return ((values * scale - mean) / std).transpose(2, 0, 1)


def classify(files: list) -> np.ndarray:
    values = np.ascontiguousarray(np.stack([prepare(file) for file in files]), np.float32)
    return session.run(None, {session.get_inputs()[0].name: values})[0].argmax(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    found = sorted(str(path) for path in args.images.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    files = [found[at % len(found)] for at in range(args.count)]
    models = {engine: kiln.Model(args.model, engine=engine, threads=CORES) for engine in ("tract", "ort")}
    first = next(iter(models.values()))
    record = first.receipt["preprocessing"]
    chunks = [files[at : at + BATCH] for at in range(0, len(files), BATCH)]
    times: dict[str, list[float]] = {}
    with ProcessPoolExecutor(CORES, initializer=load, initargs=(args.model, record, first.input_shape)) as pool:
        list(pool.map(classify, chunks[: 2 * CORES]))

        def pooled() -> np.ndarray:
            return np.concatenate(list(pool.map(classify, chunks)))

        contenders = {"Pillow and onnxruntime, process pool": pooled}
        for engine, model in models.items():
            contenders[f"kiln, {engine}"] = lambda model=model: model.classify_batch(files).indices
        for _ in range(args.rounds):
            for name, contender in contenders.items():
                start = time.perf_counter()
                classes = contender()
                times.setdefault(name, []).append(time.perf_counter() - start)
                assert len(classes) == len(files)
    pool_times = times["Pillow and onnxruntime, process pool"]
    print(f"{len(files):,} images, {CORES} cores, medians of {args.rounds} rounds\n\n| | images/s | as fast as the pool |\n| --- | --: | --: |")
    for name, seconds in times.items():
        ratio = statistics.median(a / b for a, b in zip(pool_times, seconds))
        print(f"| {name} | {len(files) / statistics.median(seconds):,.0f} | {ratio:.2f} |")

    one = kiln.Model(args.model, engine="tract", threads=1)
    halves = [files[::2], files[1::2]]
    ratios = []
    for _ in range(args.rounds):
        start = time.perf_counter()
        one.classify_batch(files)
        alone = time.perf_counter() - start
        start = time.perf_counter()
        threads = [threading.Thread(target=one.classify_batch, args=(half,)) for half in halves]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ratios.append((time.perf_counter() - start) / alone)
    print(f"\ntwo threads, a half each, take {statistics.median(ratios):.2f} of the time of one")


if __name__ == "__main__":
    main()
