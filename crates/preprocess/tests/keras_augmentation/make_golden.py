# Writes golden.json: what Keras's ImageDataGenerator makes of a few small images.
#
#   python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python make_golden.py
#
# Images are lists of bytes in HWC order, and square: for others Keras does not turn about the centre. Keras calls the
# shift along the columns tx and that along the rows ty, and draws them from the range of the other axis; here each has the
# name of what it does. Pixels and parameters come from a fixed generator, so a rerun gives the same file.

import json
from pathlib import Path

import keras
import numpy as np
import PIL
import scipy
from keras.src.legacy.preprocessing.image import ImageDataGenerator

FOLDER = Path(__file__).parent
MODES = ["nearest", "constant", "reflect", "wrap"]
CVAL = 33.0


def parameters(rng, kind):
    everything = {
        "rotation": rng.uniform(-90, 90),
        "shift": rng.uniform(-4, 4, 2).tolist(),
        "shear": rng.uniform(-40, 40),
        "zoom": rng.uniform(0.6, 1.7, 2).tolist(),
        "horizontal_flip": bool(rng.integers(2)),
        "vertical_flip": bool(rng.integers(2)),
        "channel_shift": rng.uniform(-90, 90),
        "brightness": rng.uniform(0.3, 1.8),
    }
    none = {
        "rotation": 0.0,
        "shift": [0.0, 0.0],
        "shear": 0.0,
        "zoom": [1.0, 1.0],
        "horizontal_flip": False,
        "vertical_flip": False,
        "channel_shift": 0.0,
        "brightness": None,
    }
    return everything if kind == "all" else none | {kind: True if "flip" in kind else everything[kind]}


def case(rng, side, channels, kind, mode):
    pixels = rng.integers(0, 256, (side, side, channels), dtype=np.uint8)
    chosen = parameters(rng, kind)
    generator = ImageDataGenerator(fill_mode=mode, cval=CVAL, data_format="channels_last")
    result = generator.apply_transform(
        pixels.astype(np.float32),
        {
            "theta": chosen["rotation"],
            "tx": chosen["shift"][1],
            "ty": chosen["shift"][0],
            "shear": chosen["shear"],
            "zx": chosen["zoom"][1],
            "zy": chosen["zoom"][0],
            "flip_horizontal": chosen["horizontal_flip"],
            "flip_vertical": chosen["vertical_flip"],
            "channel_shift_intensity": chosen["channel_shift"] or None,
            "brightness": chosen["brightness"],
        },
    )
    assert result.dtype == np.float32
    return {
        "side": side,
        "channels": channels,
        "fill_mode": mode,
        "cval": CVAL,
        **chosen,
        "pixels": pixels.ravel().tolist(),
        # Nine digits name an f32 exactly.
        "expected": [float(f"{v:.9g}") for v in result.ravel()],
    }


def main():
    rng = np.random.default_rng(4)
    single = ["rotation", "shift", "shear", "zoom", "horizontal_flip", "vertical_flip", "channel_shift", "brightness"]
    cases = [case(rng, 5, 1, kind, "nearest") for kind in single]
    cases += [case(rng, side, channels, "all", mode) for mode in MODES for side, channels in [(6, 1), (7, 3)]]
    cases += [case(rng, 4, 3, "channel_shift", "nearest")]
    # Far beyond the edges.
    cases += [case(rng, 3, 1, "shift", mode) for mode in MODES]
    versions = {m.__name__: m.__version__ for m in (keras, np, PIL, scipy)}
    # One line per case keeps the file readable and its differences small.
    lines = json.dumps({"versions": versions, "cases": cases}, separators=(",", ":")).replace('{"side"', '\n{"side"')
    (FOLDER / "golden.json").write_text(lines + "\n")


main()
