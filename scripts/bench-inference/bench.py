"""Runs the candidates one after another, in turns, and prints medians, ratios, CPU time and peak memory as Markdown.

Rates exclude loading and a first run. CPU time is that of the whole process, the minimum of all rounds; on a shared machine it
is more meaningful than rates.
"""

import argparse
import csv
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

import numpy
from PIL import Image

HERE = pathlib.Path(__file__).parent
KILN = pathlib.Path("target/release/kiln")
RTEN = pathlib.Path("target/bench-inference-rten/release/with-rten")
RECIPE = "models/mnist-cnn-5x5x64.toml"


def run(command: list) -> tuple[str, int, float]:
    """Returns a command's standard output, its peak memory in MiB, and the CPU seconds of it and its children."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        err.seek(0)
        if status != 0:
            sys.exit(f"{' '.join(map(str, command))} failed:\n{err.read()}")
        return out.read(), usage.ru_maxrss // 1024, usage.ru_utime + usage.ru_stime


class Bench:
    def __init__(self, args: argparse.Namespace, work: pathlib.Path):
        self.args, self.work = args, work
        self.idx = next(path for path in run([KILN, "--quiet", "fetch", "mnist"])[0].split() if "t10k-images" in path)
        run([KILN, "--quiet", "fetch", "onnxruntime"])
        trained, *_ = run([KILN, "--quiet", "train", RECIPE, "--set", "training.epochs=1", "--runs", work / "runs"])
        self.model = run([KILN, "--quiet", "export", trained.split()[-1], "-o", work / "model.onnx"])[0].split()[-1]

    def kiln(self, engine: str, data, *options) -> tuple[float, int, float]:
        """Includes reading, decoding and preprocessing; excludes loading and a first run of each session, as for the others."""
        command = [KILN, "--threads", self.args.threads, "eval", self.model, "--data", data, "--engine", engine, "--json", "-"]
        output, memory, busy = run([*command, *options])
        return json.loads(output)["images_per_second"], memory, busy

    def python(self, script: str, *arguments) -> tuple[float, int, float]:
        output, memory, busy = run([sys.executable, HERE / f"with_{script}.py", *arguments, "--threads", self.args.threads])
        return float(output.split()[-1]), memory, busy

    def turns(self, title: str, contenders: dict, ours: list[str]) -> None:
        """Runs all candidates once, then again; ratios are from one turn, so that a slow phase of the machine affects both."""
        rates, memory, busy = {name: [] for name in contenders}, {}, {name: [] for name in contenders}
        for turn in range(self.args.rounds):
            for name, contender in contenders.items():
                rate, memory[name], seconds = contender()
                rates[name].append(rate)
                busy[name].append(seconds)
                print(f"{title} {turn + 1}/{self.args.rounds} {name}: {rate:,.0f} images/s", file=sys.stderr)
        others = [name for name in contenders if name not in ours]
        best = [max(turn) for turn in zip(*(rates[name] for name in others))]
        print(f"\n### {title}\n\n| | images/s | spread | against the best other | CPU s | peak MiB |")
        print("| --- | --: | --: | --: | --: | --: |")
        for name, values in rates.items():
            ratios = [a / b for a, b in zip(values, best)]
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})" if name in ours else ""
            spread = f"{min(values):,.0f}–{max(values):,.0f}"
            print(f"| {name} | {statistics.median(values):,.0f} | {spread} | {ratio} | {min(busy[name]):.2f} | {memory[name]:,} |", flush=True)

    def folder(self) -> pathlib.Path:
        """Writes the test images as PNG files in class folders."""
        folder = self.work / "digits"
        if not folder.exists():
            pixels = numpy.fromfile(self.idx, numpy.uint8, offset=16).reshape(-1, 28, 28)
            labels = numpy.fromfile(self.idx.replace("images-idx3", "labels-idx1"), numpy.uint8, offset=8)
            for at, (image, label) in enumerate(zip(pixels, labels)):
                (folder / str(label)).mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(folder / str(label) / f"{at:05}.png")
        return folder

    def files(self) -> None:
        folder, theirs = self.folder(), self.work / "python.csv"
        python = lambda batch, workers: self.python(
            "pillow", self.model, folder, theirs, "--batch", batch, "--workers", workers
        )
        contenders = {
            f"Python, {'2 decoding processes' if workers else 'serial'}, batch {batch}": lambda b=batch, w=workers: python(b, w)
            for batch in (64, 250)
            for workers in (0, 2)
        }
        for engine in ("tract", "ort"):
            csv_file = self.work / f"{engine}.csv"
            contenders[f"kiln, {engine}"] = lambda e=engine, f=csv_file: self.kiln(e, folder, "--predictions", f)
        self.turns("10,000 PNG files", contenders, ["kiln, tract", "kiln, ort"])
        with open(theirs) as file:
            expected = dict(csv.reader(file))
        for engine in ("tract", "ort"):
            with open(self.work / f"{engine}.csv") as file:
                same = sum(expected[row["path"]] == row["predicted"] for row in csv.DictReader(file))
            print(f"\n{engine}: {same:,} of {len(expected):,} predictions are the same as in Python.")

    def arrays(self) -> None:
        for batch in (32, 250):
            contenders = {
                "Python, bare loop": lambda: self.python("onnxruntime", self.model, self.idx, "--batch", batch),
                "kiln, ort": lambda: self.kiln("ort", "mnist:test", "--batch-size", batch),
            }
            self.turns(f"ONNX Runtime, batch {batch}", contenders, ["kiln, ort"])

    def rten(self) -> None:
        for batch in (32, 250):
            command = [RTEN, self.model, self.idx, self.args.threads, 1, batch]
            rten = lambda: (lambda ran: (float(ran[0].split()[-1]), *ran[1:]))(run(command))
            contenders = {"rten": rten, "kiln, tract": lambda: self.kiln("tract", "mnist:test", "--batch-size", batch)}
            self.turns(f"pure Rust, batch {batch}", contenders, ["kiln, tract"])

    def memory(self) -> None:
        """Measures memory with ten times the images: a list of 100,000 lines."""
        files = sorted(self.folder().rglob("*.png"))
        print("\n### Memory\n\n| | images | images/s | peak MiB |\n| --- | --: | --: | --: |")
        for times in (1, 10):
            listing = self.work / f"list-{times}.csv"
            with open(listing, "w") as file:
                file.write("path,label\n")
                for _ in range(times):
                    file.writelines(f"{path},{path.parent.name}\n" for path in files)
            for engine in ("tract", "ort"):
                rate, peak, _ = self.kiln(engine, listing, "--predictions", self.work / "memory.csv")
                print(f"| kiln, {engine} | {times * len(files):,} | {rate:,.0f} | {peak:,} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parts = ["files", "arrays", "rten", "memory"]
    parser.add_argument("--only", default=",".join(parts), help=f"some of {','.join(parts)}")
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {args.threads} threads, medians of {args.rounds} rounds")
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(args, pathlib.Path(work))
        for part in args.only.split(","):
            getattr(bench, part)()


main()
