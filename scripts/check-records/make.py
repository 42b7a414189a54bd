"""Writes a Parquet file of many digits, as `datasets` lays it out: python make.py ROWS FILE.parquet

The images are those of tests/fixtures/digits, again and again, each with another brightness in its last pixel so that no two
pages are the same; row groups of 1,000.
"""

import io
import json
import pathlib
import sys

import pyarrow
import pyarrow.parquet
from PIL import Image

rows, out = int(sys.argv[1]), sys.argv[2]
digits = pathlib.Path(__file__).parents[2] / "tests/fixtures/digits/test"
paths = sorted(digits.glob("*/*.png"))
labels = [int(path.parent.name) for path in paths]
images = []
for path in paths:
    image = Image.open(path)
    for value in range(10):
        image.putpixel((27, 27), value)
        data = io.BytesIO()
        image.save(data, "png")
        images.append(data.getvalue())

names = [str(digit) for digit in range(10)]
features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
note = {"huggingface": json.dumps({"info": {"features": features}})}
struct = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
schema = pyarrow.schema([("image", struct), ("label", pyarrow.int64())], metadata=note)
with pyarrow.parquet.ParquetWriter(out, schema, compression="snappy") as writer:
    for start in range(0, rows, 1000):
        numbers = range(start, min(start + 1000, rows))
        group = {
            "image": [{"bytes": images[n % len(images)], "path": f"{n}.png"} for n in numbers],
            "label": [labels[n % len(images) // 10] for n in numbers],
        }
        writer.write_table(pyarrow.table(group, schema))
