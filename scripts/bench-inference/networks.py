"""networks.py [--rounds N] [--threads N] [--batch N,...] MODEL.onnx...: milliseconds per batch of any models on tract with kiln's
kernels, on ONNX Runtime, and on rten, in turns, as Markdown. Ratios are from one turn, their medians count. Inputs are random."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
KILN = pathlib.Path("target/release/kiln")
RTEN = pathlib.Path("target/bench-inference-rten/release/with-rten")
SECONDS = 2


def run(command: list) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
    return done.stdout


class Network:
    def __init__(self, path: pathlib.Path, batches: list[int], threads: int):
        self.path, self.batches, self.threads = path, batches, threads
        self.shape = None

    def kiln(self, engine: str) -> list[float]:
        sizes = ",".join(map(str, self.batches))
        command = [KILN, "--quiet", "--threads", self.threads, "bench", self.path, "--engine", engine, "--batch-size", sizes]
        found = json.loads(run([*command, "--duration", SECONDS, "--preprocess", "raw", "--json"]))
        self.shape = found["input"]["shape"]
        return [batch["p50_ms"] for batch in found["engines"][0]["batches"]]

    def rten(self) -> list[float]:
        images = "x".join(map(str, self.shape))
        found = run([RTEN, self.path, images, self.threads, SECONDS, *self.batches])
        return [float(line.split()[1]) for line in found.splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", default="1,8")
    args = parser.parse_args()
    batches = [int(batch) for batch in args.batch.split(",")]
    print("| network | batch | tract, ms | ONNX Runtime | ratio | rten | ratio |\n| --- | --: | --: | --: | --: | --: | --: |")
    for path in args.models:
        network = Network(path, batches, args.threads)
        turns = [[network.kiln("tract"), network.kiln("ort"), network.rten()] for _ in range(args.rounds)]
        for at, batch in enumerate(batches):
            ours, ort, rten = ([turn[engine][at] for turn in turns] for engine in range(3))
            middle = statistics.median
            ratios = [middle(a / b for a, b in zip(theirs, ours, strict=True)) for theirs in (ort, rten)]
            name = path.parent.name if path.stem == "model" else path.stem
            line = f"| {name} | {batch} | {middle(ours):.3g} | {middle(ort):.3g} | {ratios[0]:.2f} | {middle(rten):.3g} | {ratios[1]:.2f} |"
            print(line, flush=True)


main()
