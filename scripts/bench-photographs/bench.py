"""Runs the candidates one after another, in turns, and prints medians, ratios and peak memory as Markdown."""

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

from PIL import Image

HERE = pathlib.Path(__file__).parent
KILN = pathlib.Path("target/release/kiln")
# PyTorch is given its best: whichever of two layouts and two ways of waiting is fastest on the machine.
LAYOUTS = {"": [], ", channels last": ["--channels-last"]}
WAITS = ("passive", "active")


def run(command: list, environment: dict | None = None) -> tuple[str, int]:
    """Returns a command's standard output and its peak memory in MiB; that of worker processes is not in it."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err, env={**os.environ, **(environment or {})})
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        err.seek(0)
        if status != 0:
            sys.exit(f"{' '.join(map(str, command))} failed:\n{err.read()}")
        return out.read(), usage.ru_maxrss // 1024


class Bench:
    def __init__(self, args: argparse.Namespace, work: pathlib.Path):
        self.args, self.work = args, work

    def pytorch(self, folder: pathlib.Path, *options, wait: str = "passive") -> tuple[float, int]:
        command = [sys.executable, HERE / "with_pytorch.py", folder, *options, "--threads", self.args.threads]
        output, memory = run(command, {"OMP_WAIT_POLICY": wait, "OMP_NUM_THREADS": str(self.args.threads)})
        return float(output.split()[-1]), memory

    def turns(self, title: str, contenders: dict) -> None:
        """Runs all candidates once, then again; ratios are from one turn, so that a slow phase of the machine affects both."""
        rates, memory = {name: [] for name in contenders}, {}
        for turn in range(self.args.rounds):
            for name, contender in contenders.items():
                rate, memory[name] = contender()
                rates[name].append(rate)
                print(f"{title} {turn + 1}/{self.args.rounds} {name}: {rate:,.1f} images/s", file=sys.stderr)
        print(f"\n### {title}\n\n| | images/s | spread | kiln is faster by | peak MiB |\n| --- | --: | --: | --: | --: |")
        for name, values in rates.items():
            ratio = statistics.median(a / b for a, b in zip(rates["kiln"], values))
            spread = f"{min(values):,.1f}–{max(values):,.1f}"
            print(f"| {name} | {statistics.median(values):,.1f} | {spread} | {ratio:.2f} | {memory[name]:,} |", flush=True)

    def training(self) -> None:
        """The last of three epochs, random crops and flips included."""
        folder = self.args.data / "train"

        def kiln():
            options = ["--set", f"data.folder={self.args.data}", "--runs", self.work]
            output, memory = run([KILN, "--threads", self.args.threads, "train", HERE / "small-cnn.toml", *options])
            with open(pathlib.Path(output.split()[-1]) / "history.csv") as file:
                seconds = float(list(csv.DictReader(file))[-1]["seconds"])
            return sum(1 for path in folder.rglob("*") if path.is_file()) / seconds, memory

        contenders = {"kiln": kiln}
        for where, more in {"2 workers": [], "images in memory": ["--in-memory"], "images in memory, 1 process": ["--in-memory", "--workers", 0]}.items():
            for layout, option in LAYOUTS.items():
                for wait in WAITS:
                    contenders[f"PyTorch, {where}{layout}, {wait}"] = lambda o=[*more, *option], w=wait: self.pytorch(folder, *o, wait=w)
        self.turns("Training a small network at 96 pixels", contenders)

    def model(self, network: str) -> pathlib.Path:
        """A network with a head for the classes of the data, trained for one epoch."""
        recipe, file = self.work / f"{network}.toml", self.work / f"{network}.onnx"
        if not file.exists():
            recipe.write_text(
                f'[backbone]\nweights = "{network}"\n[input]\nheight = 224\nwidth = 224\nchannels = "rgb"\npreprocess = "torch"\n'
                # As torchvision's transforms of Pillow's images, whatever the network's own record says.
                'resize = "stretch"\nresize_to = 224\nfilter = "bilinear"\narithmetic = "pillow"\nantialias = true\n'
                f'[data]\nfolder = "{self.args.data}"\n[training]\nepochs = 1\n[[layers]]\ntype = "dense"\n'
            )
            trained, _ = run([KILN, "train", recipe, "--runs", self.work / "runs"])
            run([KILN, "export", trained.split()[-1], "-o", file])
        return file

    def evaluate(self, title: str, network: str, folder: pathlib.Path, drafts: bool) -> None:
        model = self.model(network)

        def kiln(engine: str, *options: str):
            command = [KILN, "--threads", self.args.threads, "eval", model, "--data", folder, "--engine", engine, "--json", "-", *options]
            output, memory = run(command)
            return json.loads(output)["images_per_second"], memory

        contenders = {"kiln": lambda: kiln("ort"), "kiln with tract": lambda: kiln("tract")}
        if drafts:
            for gap in ("1", "2"):
                contenders[f"kiln with tract, reducing_gap {gap}"] = lambda g=gap: kiln("tract", "--reducing-gap", g)
        for name, options in {"": [], ", draft": ["--draft"]}.items():
            if drafts or not options:
                for wait in WAITS:
                    key = f"torchvision, 2 workers, onnxruntime{name}, {wait}"
                    contenders[key] = lambda o=options, w=wait: self.pytorch(folder, "--model", model, *o, wait=w)
        self.turns(title, contenders)

    def evaluation(self) -> None:
        for network in ("mobilenet-v2", "efficientnet-lite0"):
            self.evaluate(f"Evaluation with {network} at 224 pixels", network, self.args.data / "train", False)

    def large(self) -> None:
        """60 photographs of 12 megapixels, made from the first ones."""
        folder = self.work / "large"
        files = sorted(path for path in (self.args.data / "train").rglob("*") if path.is_file())
        for at, path in enumerate(files[:: len(files) // 60][:60]):
            target = folder / path.parent.name / f"{at}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC).save(target, quality=90)
        # Python's evaluation numbers the classes of the folders that exist; only rates are compared.
        self.evaluate("Evaluation of 60 photographs of 4,000 x 3,000", "mobilenet-v2", folder, True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=pathlib.Path, help="class folders in train, validation and test")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parts = ["training", "evaluation", "large"]
    parser.add_argument("--only", default=",".join(parts), help=f"some of {','.join(parts)}")
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {args.threads} threads, medians of {args.rounds} rounds")
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(args, pathlib.Path(work))
        for part in args.only.split(","):
            getattr(bench, part)()


main()
