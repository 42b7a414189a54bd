"""Runs the candidates one after another, in turns, and prints medians, ratios and peak memory as Markdown."""

import argparse
import csv
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
KILN = pathlib.Path("target/release/kiln")
CNNS = ["3x32", "3x64", "5x32", "5x64"]
# Its options, and what its threads do while they wait: spinning helps an idle machine and costs a shared one much.
PYTORCH = {
    "PyTorch": ([], "passive"),
    "PyTorch, spinning": ([], "active"),
    "PyTorch, channels last": (["--channels-last"], "passive"),
    "PyTorch, channels last, spinning": (["--channels-last"], "active"),
    "PyTorch, channels last, compiled": (["--channels-last", "--compile"], "passive"),
    "PyTorch, channels last, bf16": (["--channels-last", "--bf16"], "passive"),
}


# Products of bfloat16, where the processor has them.
BF16 = ["--set", "training.precision=bf16"]


def flags() -> list[str]:
    info = pathlib.Path("/proc/cpuinfo")
    found = re.search(r"^flags\s*:(.*)$", info.read_text(), re.M) if info.exists() else None
    return found.group(1).split() if found else []


def instructions() -> str:
    """Returns the widest vector instructions of the processor."""
    names = flags()
    known = [("avx512_bf16", "AVX-512 with BF16"), ("avx512f", "AVX-512"), ("avx2", "AVX2")]
    found = [title for flag, title in known if flag in names]
    return found[0] if found else platform.machine()


def run(command: list, environment: dict | None = None) -> tuple[str, str, int]:
    """Returns a command's standard output, standard error and peak memory in MiB."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        err.seek(0)
        if status != 0:
            sys.exit(f"{' '.join(map(str, command))} failed:\n{err.read()}")
        return out.read(), err.read(), usage.ru_maxrss // 1024


def kiln(*arguments) -> tuple[str, str, int]:
    return run([KILN, *arguments])


class Bench:
    def __init__(self, args: argparse.Namespace, work: pathlib.Path):
        self.args, self.work = args, work
        self.data = pathlib.Path(kiln("--quiet", "fetch", "mnist")[0].split()[0]).parent
        self.vgg16 = None
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}

    def python(self, script: str, *arguments, waits: str = "passive") -> tuple[float, int]:
        command = [sys.executable, HERE / f"with_{script}.py", *arguments, "--threads", self.args.threads]
        output, _, memory = run(command, {**self.environment, "OMP_WAIT_POLICY": waits})
        return float(output.split()[-1]), memory

    def train(self, recipe: str, images: int, *options) -> tuple[float, int]:
        """Returns images per second in the last epoch of a run started as users do, with 128 validation images."""
        limits = ["--set", f"data.limit={images}", "--set", "data.test_limit=128", "--runs", self.work]
        output, _, memory = kiln("--threads", self.args.threads, "train", f"models/{recipe}.toml", *limits, *options)
        with open(pathlib.Path(output.split()[-1]) / "history.csv") as file:
            return images / float(list(csv.DictReader(file))[-1]["seconds"]), memory

    def contenders(self, network: str) -> dict:
        if network == "vgg16":
            return self.vgg16_contenders()
        # Enough to make startup negligible, few enough for several rounds.
        images = {"block5": 8192}.get(network, 19_200)
        count = ["--images", images]
        pytorch = {
            name: lambda options=options, waits=waits: self.python(
                "pytorch", network, "--data", self.data, *count, *options, waits=waits
            )
            for name, (options, waits) in PYTORCH.items()
        }
        if network == "block5":
            epochs = ["--set", "training.phases.1.epochs=1", "--set", "training.phases.2.epochs=2", "--set", "training.phases.3.epochs=1"]
            ours = lambda count, *options: self.train("vgg16-finetuned", count, *epochs, *options)
            # Slow: fewer images suffice.
            stock = lambda: ours(images // 8, "--stock-kernels")
            rounded = {"kiln, bf16": lambda: ours(images, *BF16)} if "avx512_bf16" in flags() else {}
            return {**pytorch, "kiln, stock Burn": stock, **rounded, "kiln": lambda: ours(images)}
        recipe = f"mnist-cnn-{network[0]}x{network}"
        ours = lambda count, *options: self.train(recipe, count, "--set", "training.epochs=2", *options)
        rounded = {"kiln, bf16": lambda: ours(images, *BF16)} if "avx512_bf16" in flags() else {}
        return {
            **pytorch,
            "Keras, TensorFlow": lambda: self.python("keras", network, "--data", self.data, *count),
            "kiln, stock Burn": lambda: ours(images // 8, "--stock-kernels"),
            **rounded,
            "kiln": lambda: ours(images),
        }

    def vgg16_contenders(self) -> dict:
        """The frozen backbone: onnxruntime on the exported file, kiln as it computes features for training."""
        images = 2048

        def onnxruntime():
            if self.vgg16 is None:
                options = ["--set", "training.epochs=1", "--set", "data.limit=256", "--set", "data.test_limit=128"]
                trained, _, _ = kiln("train", "models/vgg16-frozen.toml", "--runs", self.work, *options)
                self.vgg16 = kiln("export", trained.split()[-1])[0].split()[-1]
            return self.python("onnxruntime", self.vgg16, "--images", images)

        def features():
            # A separate cache: cached features would not be computed again.
            cache = self.work / f"cache-{time.monotonic_ns()}"
            cache.mkdir()
            for asset in self.data.parents[1].iterdir():
                if asset.name != "features":
                    (cache / asset.name).symlink_to(asset)
            options = ["--set", "training.epochs=1", "--set", f"data.limit={images}", "--set", "data.test_limit=128"]
            command = [KILN, "--threads", self.args.threads, "train", "models/vgg16-frozen.toml", "--runs", self.work, *options]
            _, messages, memory = run(command, {**os.environ, "KILN_CACHE": str(cache)})
            seconds = re.search(rf"Computed features of {images:,} images .* in ([\d.]+) s", messages)
            return images / float(seconds.group(1)), memory

        return {"onnxruntime, the whole exported model": onnxruntime, "kiln, features": features}

    def table(self, network: str) -> None:
        contenders = {name: contender for name, contender in self.contenders(network).items() if name not in self.args.without}
        rates, memory = {name: [] for name in contenders}, {}
        for turn in range(self.args.rounds):
            for name, contender in contenders.items():
                rate, memory[name] = contender()
                rates[name].append(rate)
                print(f"{network} {turn + 1}/{self.args.rounds} {name}: {rate:,.0f} images/s", file=sys.stderr)
        ours = list(contenders)[-1]
        # Ratios are from one turn, so that a slow phase of the machine affects both.
        ratio = lambda name: statistics.median(a / b for a, b in zip(rates[ours], rates[name]))
        print(f"\n### {network}\n\n| | images/s | spread | kiln is faster by | peak MiB |\n| --- | --: | --: | --: | --: |")
        for name, values in rates.items():
            middle = statistics.median(values)
            spread = f"{min(values):,.0f}–{max(values):,.0f}"
            print(f"| {name} | {middle:,.0f} | {spread} | {ratio(name):.2f} | {memory[name]:,} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    networks = [*CNNS, "block5", "vgg16"]
    parser.add_argument("--only", default=",".join(networks), help=f"some of {','.join(networks)}")
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="a candidate to leave out, such as `Keras, TensorFlow`")
    args = parser.parse_args()
    print(f"{instructions()}, {args.threads} threads, medians of {args.rounds} rounds, batch 128")
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(args, pathlib.Path(work))
        for network in args.only.split(","):
            bench.table(network)


main()
