"""Writes rows.npy, which the tests of `NpyWriter` compare with."""

from pathlib import Path

import numpy as np

info = np.finfo(np.float32)
rows = [[0.0, 1.0, -2.5], [info.tiny, info.max, 0.1]]
np.save(Path(__file__).with_name("rows.npy"), np.array(rows, dtype="<f4"))
