"""check.py KILN MODEL WORK [--images N]: runs the examples for Ray Data and Dask with two workers over N images, as Parquet and as files,
kills one worker midway, and compares: every image exactly once, with the class and the probability of `kiln predict`. Prints the
times beside that of two plain `kiln predict --shard` processes."""

import argparse
import collections
import csv
import pathlib
import shutil
import subprocess
import sys
import time

import psutil
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "crates/python/examples"
WORKERS = {"ray_data.py": "ray::MapWorker", "dask_classify.py": "spawn_main"}


def predict(kiln: str, model: str, images: pathlib.Path, *options: str) -> subprocess.Popen:
    command = [kiln, "--threads", "1", "--quiet", "predict", model, str(images), *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def make(work: pathlib.Path, count: int) -> None:
    """`count` images with names of their own: the test digits again and again, as files and as Parquet of eight row groups."""
    digits = sorted((ROOT / "tests/fixtures/digits").rglob("*.png"))
    contents = [path.read_bytes() for path in digits]
    files = work / "files"
    files.mkdir()
    rows = []
    for number in range(count):
        name = f"{number:07}.png"
        content = contents[number % len(contents)]
        (files / name).write_bytes(content)
        rows.append({"bytes": content, "path": name})
    table = pa.table({"image": pa.array(rows), "id": pa.array(range(count))})
    pq.write_table(table, work / "images.parquet", row_group_size=-(-count // 8))


def kill_one(process: subprocess.Popen, word: str) -> str:
    """Kills a worker once it has worked for a moment."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                busy = word in " ".join(child.cmdline()) and child.cpu_times().user > 1.0
            except psutil.Error:
                continue
            if busy:
                child.kill()
                return f"killed worker {child.pid}"
        time.sleep(0.02)
    return "no worker was killed"


def run(example: str, args: argparse.Namespace, images: pathlib.Path, output: pathlib.Path, kill: bool) -> float:
    command = [sys.executable, EXAMPLES / example, args.model, images, output, "--workers", "2"]
    start = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    told = kill_one(process, WORKERS[example]) if kill else ""
    _, err = process.communicate(timeout=1200)
    seconds = time.monotonic() - start
    if process.returncode != 0:
        sys.exit(f"{example} over {images} ended with {process.returncode}:\n{err[-3000:]}")
    if kill and "killed" not in told[:6]:
        sys.exit(f"{example}: {told}: take more images")
    return seconds


def check(output: pathlib.Path, expected: dict[str, tuple[str, float]], name_of) -> None:
    table = pyarrow.dataset.dataset(output, format="parquet", exclude_invalid_files=True).to_table()
    seen = collections.Counter()
    wrong = []
    for row in table.to_pylist():
        name = name_of(row)
        seen[name] += 1
        if row["error"] is not None or (row["label"], row["probability"]) != expected[name]:
            wrong.append((row, expected[name]))
    twice = [name for name, count in seen.items() if count > 1]
    missing = expected.keys() - seen.keys()
    if wrong or twice or missing:
        sys.exit(f"{output}: {len(wrong)} differ ({wrong[:2]}), {len(twice)} are double, {len(missing)} are missing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kiln")
    parser.add_argument("model")
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=20_000)
    args = parser.parse_args()

    make(args.work, args.images)
    whole = args.work / "whole.csv"
    if predict(args.kiln, args.model, args.work / "files", "--predictions", str(whole)).wait() != 0:
        sys.exit("kiln predict failed")
    import numpy as np

    with open(whole) as file:
        rows = csv.DictReader(file)
        expected = {pathlib.Path(row["path"]).name: (row["predicted"], float(np.float32(row["probability"]))) for row in rows}
    assert len(expected) == args.images
    start = time.monotonic()
    shards = [
        predict(args.kiln, args.model, args.work / "files", "--shard", f"{at}/2", "--predictions", str(args.work / f"{at}.csv"))
        for at in (1, 2)
    ]
    assert all(shard.wait() == 0 for shard in shards)
    plain = time.monotonic() - start
    print(f"{args.images:,} images as files, two processes of `kiln predict --shard`: {plain:.1f} s, {args.images / plain:,.0f} images/s")

    for example in WORKERS:
        for images, name_of in [
            (args.work / "images.parquet", lambda row: f"{row['id']:07}.png"),
            (args.work / "files", lambda row: pathlib.Path(row["path"]).name),
        ]:
            for kill in (False, True):
                output = args.work / "out"
                seconds = run(example, args, images, output, kill)
                check(output, expected, name_of)
                shutil.rmtree(output)
                how = "one worker killed" if kill else f"{args.images / seconds:,.0f} images/s with the start of the engine"
                print(f"{example}, {images.name}: {seconds:.1f} s, {how}; each image once, as kiln predicts", flush=True)


main()
