"""Writes small files of images with the libraries that people write them with, and what is in them as JSON.

    python3 -m venv venv
    venv/bin/pip install datasets==5.2.0 polars==2.1.0 pyarrow==26.0.1 webdataset==1.0.2 pillow==13.0.0 numpy
    venv/bin/python make.py
"""

import base64
import io
import json
import pathlib

import datasets
import polars
import pyarrow
import pyarrow.parquet
import webdataset
from PIL import Image

here = pathlib.Path(__file__).parent
names = ["cat", "dog", "old owl"]


def png(number):
    image = Image.new("RGB", (6, 5), (20 * number, 255 - 20 * number, 7))
    out = io.BytesIO()
    image.save(out, "png")
    return out.getvalue()


images = [png(number) for number in range(12)]
labels = [number % 3 for number in range(12)]
expected = {}


def note(name, rows):
    # Images by their numbers.
    expected[name] = [[None if image is None else images.index(image), label] for image, label in rows]


# Hugging Face's own writer, in row groups of 5, 5 and 2 rows.
features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
rows = {
    "image": [{"bytes": image, "path": f"{number}.png"} for number, image in enumerate(images)],
    "label": labels,
}
table = datasets.Dataset.from_dict(rows, features=features)
table.to_parquet(here / "datasets.parquet", batch_size=5)
note("datasets.parquet", [(image, names[label]) for image, label in zip(images, labels)])

# The test set of a competition has no labels.
rows["label"] = [-1] * 12
datasets.Dataset.from_dict(rows, features=features).to_parquet(here / "unlabeled.parquet")
note("unlabeled.parquet", [(image, None) for image in images])

# Codecs, with labels of 64 bits and no names; every third image is missing.
some = [image if number % 3 else None for number, image in enumerate(images)]
struct = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
column = pyarrow.array([None if image is None else {"bytes": image, "path": None} for image in some], struct)
for codec in ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]:
    table = pyarrow.table({"id": list(range(12)), "image": column, "label": labels})
    for version in ["1.0", "2.0"]:
        name = f"{codec}-{version[0]}.parquet"
        pyarrow.parquet.write_table(
            table, here / name, compression=codec, data_page_version=version, row_group_size=7
        )
        note(name, [(image, str(label)) for image, label in zip(some, labels)])

# Text in a dictionary, and in pages that are no larger than an image.
words = [names[label] for label in labels]
table = pyarrow.table({"label": pyarrow.array(words).dictionary_encode(), "img": pyarrow.array(images, pyarrow.binary())})
pyarrow.parquet.write_table(
    table, here / "pages.parquet", data_page_size=64, write_batch_size=1, dictionary_pagesize_limit=1 << 20,
    use_dictionary=["label"], compression="zstd",
)
note("pages.parquet", list(zip(images, words)))

# The encodings of the second version of the format.
schema = pyarrow.schema([("image", pyarrow.binary()), ("class", pyarrow.string()), ("label", pyarrow.int32())])
table = pyarrow.table({"image": images, "class": words, "label": labels}, schema)
for name, encoding in [("lengths", "DELTA_LENGTH_BYTE_ARRAY"), ("prefixes", "DELTA_BYTE_ARRAY")]:
    pyarrow.parquet.write_table(
        table, here / f"{name}.parquet", use_dictionary=False,
        column_encoding={"image": encoding, "class": encoding, "label": "DELTA_BINARY_PACKED"},
    )
    note(f"{name}.parquet", [(image, str(label)) for image, label in zip(images, labels)])

# Labels in many rows of few values, so that runs and bits both occur.
many = [number // 40 % 2 if number < 300 else number * 7 % 5 for number in range(700)]
table = pyarrow.table({"image": pyarrow.array([images[0]] * 700, pyarrow.binary()), "label": many})
pyarrow.parquet.write_table(table, here / "runs.parquet", compression="zstd")
note("runs.parquet", [(images[0], str(label)) for label in many])

polars.DataFrame({"image": images, "label": words}).write_parquet(here / "polars.parquet", row_group_size=8)
note("polars.parquet", list(zip(images, words)))

# What is refused.
pyarrow.parquet.write_table(pyarrow.table({"image": [[image] for image in images], "label": labels}), here / "lists.parquet")
pyarrow.parquet.write_table(pyarrow.table({"text": words, "label": labels}), here / "texts.parquet")

with webdataset.TarWriter(str(here / "webdataset.tar")) as tar:
    for number, (image, label) in enumerate(zip(images[:5], labels)):
        key = f"train/{number:06d}" + ("-with-a-long-name" * 8 if number == 3 else "")
        tar.write({"__key__": key, "png": image, "cls": label, "json": {"caption": "x"}})
note("webdataset.tar", [(image, str(label)) for image, label in zip(images[:5], labels)])

images = [base64.b64encode(image).decode() for image in images]
text = json.dumps({"images": images, "files": expected}, separators=(",", ":"))
(here / "expected.json").write_text(text.replace("]],", "]],\n") + "\n")
