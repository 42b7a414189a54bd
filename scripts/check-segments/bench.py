"""bench.py PROGRAM FOLDER [ROUNDS]: times a training step of whole networks, all layers trained with live batch normalization, on 32
images of 64 by 64 pixels with two threads: kiln by the program `run_segments`, and PyTorch with both layouts and both ways of its
threads to wait. The programs take turns; the smallest median of the rounds counts."""

import os
import statistics
import subprocess
import sys
from pathlib import Path

NETWORKS = ["resnet18", "mobilenet_v2", "efficientnet_lite0"]
SIZE, BATCH, STEPS, THREADS = 64, 32, 12, 2
# Steps before the times count.
WARM_UP = 4


def build(name):
    import timm
    import torch
    import torchvision

    torch.manual_seed(7)
    if hasattr(torchvision.models, name):
        return getattr(torchvision.models, name)(weights=None)
    return timm.create_model(name, pretrained=False)


def export(name, folder):
    import torch

    file = folder / f"{name}_{SIZE}.onnx"
    if not file.exists():
        axes = {"images": {0: "batch"}, "scores": {0: "batch"}}
        # Batch normalizations stay what they are: folded into the convolutions they could not be trained.
        torch.onnx.export(
            build(name).eval(),
            (torch.zeros(1, 3, SIZE, SIZE),),
            file,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            input_names=["images"],
            output_names=["scores"],
            dynamic_axes=axes,
        )
    return file


def with_pytorch(name, layout):
    """Prints the milliseconds of each step."""
    import time

    import torch

    torch.set_num_threads(THREADS)
    model = build(name).train()
    images, labels = torch.randn(BATCH, 3, SIZE, SIZE), torch.arange(BATCH) % 10
    if layout == "channels_last":
        model, images = (it.to(memory_format=torch.channels_last) for it in (model, images))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    for _ in range(STEPS):
        start = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        print((time.perf_counter() - start) * 1e3)


def median(command, **environment):
    lines = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | environment
    ).stdout.splitlines()
    return statistics.median(float(line.split("\t")[0]) for line in lines[WARM_UP:])


def main():
    if sys.argv[1] == "--pytorch":
        return with_pytorch(*sys.argv[2:])
    program, folder = Path(sys.argv[1]), Path(sys.argv[2])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    folder.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        file = export(name, folder)
        kiln = [str(program), "--train", str(file), str(STEPS), "kernels"]
        programs = {"kiln": lambda: median(kiln, RAYON_NUM_THREADS=str(THREADS))}
        for layout in ("contiguous", "channels_last"):
            for policy in ("passive", "active"):
                command = [sys.executable, __file__, "--pytorch", name, layout]
                programs[f"pytorch {layout} {policy}"] = lambda c=command, p=policy: median(c, OMP_WAIT_POLICY=p)
        times = {way: [] for way in programs}
        for _ in range(rounds):
            for way, run in programs.items():
                times[way].append(run())
        for way, found in times.items():
            print(f"{name}\t{way}\t{min(found):.0f} ms\t(of {', '.join(f'{time:.0f}' for time in found)})", flush=True)


if __name__ == "__main__":
    main()
