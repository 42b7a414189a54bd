"""Compares what `run` left: memory, bytes, and predictions as pyarrow and polars read them."""

import csv
import json
import pathlib
import re
import sys

import polars
import pyarrow.parquet

work, rows = pathlib.Path(sys.argv[1]), int(sys.argv[2])

few, many = (int((work / f"{count}.memory").read_text().split()[-1]) for count in (10000, rows))
print(f"memory: {few / 1024:.0f} MiB for 10,000 rows, {many / 1024:.0f} MiB for {rows:,}")
assert many < 1.3 * few, "memory follows the rows"
figures = json.loads((work / f"{rows}.json").read_text())
assert figures["images"] == rows
print(f"{figures['images_per_second']:,.0f} images/s, {figures['model_images_per_second']:,.0f} in the model")

size = (work / "10000.parquet").stat().st_size
for shard in range(1, 5):
    trace = (work / f"{shard}.trace").read_text()
    read = sum(int(count) for count in re.findall(r"pread64\(.*= (\d+)$", trace, re.M))
    print(f"shard {shard}/4 read {read:,} of {size:,} bytes ({read / size:.1%})")
    assert 0.1 < read / size < 0.4

table = pyarrow.parquet.read_table(work / "whole.parquet")
frame = polars.read_parquet(work / "whole.parquet")
assert table.num_rows == frame.height == rows
with open(work / f"{rows}.csv") as lines:
    reader = csv.reader(lines)
    header = next(reader)
    assert table.column_names == frame.columns == header
    first = next(reader)
    found = [str(value) for value in frame.row(0)]
    assert found[:4] == first[:4], (found, first)
    assert all(abs(float(a) - float(b)) < 1e-6 for a, b in zip(found[4:], first[4:]))
types = [str(kind) for kind in table.schema.types]
assert types[:5] == ["int64", "string", "string", "string", "float"], types
print("pyarrow and polars read the predictions")
