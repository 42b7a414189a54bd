"""Quantizes a model with kiln and with onnxruntime and measures both beside the original, in turns."""

import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
from PIL import Image

HERE = pathlib.Path(__file__).parent
PYTHON_METHODS = ["minmax", "percentile", "entropy"]
KILN_METHODS = ["mse", "minmax", "percentile=99.99", "entropy"]


def instructions() -> str:
    """Returns the processor's vector instructions, as far as they matter for integers."""
    info = pathlib.Path("/proc/cpuinfo")
    flags = re.search(r"^flags\s*:(.*)$", info.read_text(), re.M) if info.exists() else None
    names = flags.group(1).split() if flags else []
    known = {"avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX VNNI", "avx512f": "AVX-512 without VNNI", "avx2": "AVX2 without VNNI"}
    return next((title for flag, title in known.items() if flag in names), platform.machine())


def calibration(files: list[pathlib.Path], record: dict) -> np.ndarray:
    """Prepares images as the record in the model says: the shorter side and a crop in the middle, or stretched."""
    prepared = []
    for file in files:
        image = Image.open(file).convert("RGB" if record["channels"] == "rgb" else "L")
        width, height = image.size
        size = record["height"], record["width"]
        resize = record.get("resize", {})
        if "size" in resize:
            share = resize["size"][0] / min(width, height)
            image = image.resize((round(width * share), round(height * share)), Image.Resampling.BICUBIC)
            left, top = (image.width - size[1]) // 2, (image.height - size[0]) // 2
            image = image.crop((left, top, left + size[1], top + size[0]))
        elif (height, width) != size:
            image = image.resize(size[::-1], Image.Resampling.BILINEAR)
        values = np.asarray(image, np.float32).reshape(*size, -1) * record["scale"]
        values = (values - np.array(record["mean"], np.float32)) / np.array(record["std"], np.float32)
        prepared.append(values.transpose(2, 0, 1))
    return np.stack(prepared)


def chosen(data: pathlib.Path, count: int) -> list[pathlib.Path]:
    """Returns the images at equal distances that kiln takes too."""
    folder = next(folder for folder in [data / "train", data] if folder.is_dir())
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in {".jpg", ".jpeg", ".png"})
    return [files[at * len(files) // count] for at in range(min(count, len(files)))]


class Bench:
    def __init__(self, args: argparse.Namespace, work: pathlib.Path):
        self.args, self.work = args, work
        props = {entry.key: entry.value for entry in onnx.load(args.model).metadata_props}
        self.record = json.loads(props["kiln.preprocessing"])

    def run(self, command: list) -> str:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def kiln(self, method: str, images: int) -> tuple[pathlib.Path, float]:
        output = self.work / f"kiln-{method}-{images}.onnx"
        command = [self.args.kiln, "--quiet", "quantize", self.args.model, "--data", self.args.data, "-o", output]
        start = time.perf_counter()
        self.run([*command, "--method", method, "--images", images, "--engine", "ort"])
        return output, time.perf_counter() - start

    def python(self, method: str, images: pathlib.Path) -> tuple[pathlib.Path, float]:
        output = self.work / f"onnxruntime-{method}.onnx"
        start = time.perf_counter()
        self.run([sys.executable, HERE / "with_onnxruntime.py", self.args.model, images, output, "--method", method])
        return output, time.perf_counter() - start

    def accuracy(self, model: pathlib.Path, engine: str) -> tuple[float, float]:
        found = json.loads(self.run([self.args.kiln, "--quiet", "eval", model, "--data", self.args.data, "--engine", engine, "--json"]))
        found = found[0] if isinstance(found, list) else found
        return found["accuracy"], found["loss"]

    def rates(self, model: pathlib.Path, engine: str) -> list[float]:
        """Returns images/s of single images and of batches of 8."""
        found = json.loads(self.run([self.args.kiln, "--quiet", "bench", model, "--engine", engine, "--batch-size", "1,8", "--duration", "2", "--json"]))
        return [latency["images_per_second"] for latency in found["engines"][0]["batches"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kiln", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=300, help="calibration images")
    parser.add_argument("--methods", help="only these methods, such as minmax,mse, of those that either has")
    parser.add_argument("--tables", action="store_true", help="accuracy by method and by number of calibration images too")
    args = parser.parse_args()
    wanted = args.methods.split(",") if args.methods else [*PYTHON_METHODS, *KILN_METHODS]
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(args, pathlib.Path(work))
        images = pathlib.Path(work) / "images.npy"
        start = time.perf_counter()
        np.save(images, calibration(chosen(args.data, args.images), bench.record))
        reading = time.perf_counter() - start
        models = {"float": (args.model, 0.0)}
        for method in [method for method in PYTHON_METHODS if method in wanted]:
            output, seconds = bench.python(method, images)
            models[f"onnxruntime, {method}"] = output, seconds + reading
        for method in [method for method in KILN_METHODS if method in wanted]:
            models[f"kiln, {method}"] = bench.kiln(method, args.images)
        rates = {name: {"ort": [], "tract": []} for name in models}
        for _ in range(args.rounds):
            for name, (model, _) in models.items():
                for engine in ["ort", "tract"]:
                    rates[name][engine].append(bench.rates(model, engine))
        print(f"{instructions()}, {os.cpu_count()} threads, {args.images} calibration images, medians of {args.rounds} rounds\n")
        print("| | accuracy, ort | tract | loss, ort | MB | seconds | images/s at 1, ort | at 8 | at 1, tract | at 8 |")
        print("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |")
        for name, (model, seconds) in models.items():
            ort, tract = bench.accuracy(model, "ort"), bench.accuracy(model, "tract")
            speed = [statistics.median(found[at] for found in rates[name][engine]) for engine in ["ort", "tract"] for at in [0, 1]]
            took = f"{seconds:.1f}" if seconds else ""
            cells = [name, f"{ort[0]:.2%}", f"{tract[0]:.2%}", f"{ort[1]:.4f}", f"{model.stat().st_size / 1e6:.2f}", took]
            print("|", " | ".join([*cells, *(f"{rate:,.0f}" for rate in speed)]), "|", flush=True)
        if args.tables:
            print("\n| calibration images | " + " | ".join(KILN_METHODS) + " |\n| --: | " + " | ".join(["--:"] * len(KILN_METHODS)) + " |")
            for count in [10, 30, 100, 300, 1000]:
                found = [bench.accuracy(bench.kiln(method, count)[0], "ort") for method in KILN_METHODS]
                print(f"| {count:,} | " + " | ".join(f"{accuracy:.2%}, {loss:.4f}" for accuracy, loss in found) + " |", flush=True)


main()
