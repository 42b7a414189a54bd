"""Classifies images with Dask: Parquet files, or image files, in; Parquet files with predictions out.

    python dask_classify.py model.onnx 'images/*.parquet' predictions/ --workers 2
    python dask_classify.py model.onnx photos/ predictions/ --workers 2

What Dask wants, and what goes wrong otherwise:

- Workers are processes with one thread each (`threads_per_worker=1`), and a model gets one thread, as the worker gets one core.
- A model is loaded once for each process, by a cached function; passed as an argument it would be pickled, and loaded again, for each
  task.
- A task is a row group of a Parquet file, or a few hundred image files: tasks of milliseconds spend their time in the scheduler,
  and what a killed worker had is done once more, task by task.
- A task writes its own file under a name that follows from its input, first under another name: whoever does it once more replaces it.
- Images that cannot be read are rows with an `error` and no label; an exception would end all.
"""

import argparse
import functools
import glob
import os
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
from dask.distributed import Client, LocalCluster, progress

import kiln

FILES_PER_TASK = 256
ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


@functools.cache
def model_of(path: str, engine: str) -> kiln.Model:
    """The process's model."""
    return kiln.Model(path, engine=engine, threads=1)


def write(table: pa.Table, predictions: pa.RecordBatch, output: str, name: str) -> int:
    """Writes the rows of a task, whole or not at all."""
    for column in ["label", "probability", "error"]:
        table = table.append_column(column, predictions.column(column))
    part = pathlib.Path(output, f".{name}.{os.getpid()}")
    pq.write_table(table, part)
    part.rename(pathlib.Path(output, f"{name}.parquet"))
    return table.num_rows


def classify_group(model: str, engine: str, file: str, group: int, column: str, output: str) -> int:
    """Classifies a row group."""
    table = pq.ParquetFile(file).read_row_group(group)
    predictions = model_of(model, engine).classify_batch(table.column(column), errors="keep").to_arrow()
    return write(table.drop_columns([column]), predictions, output, f"{pathlib.Path(file).stem}-{group:05}")


def classify_files(model: str, engine: str, files: list[str], output: str, name: str) -> int:
    """Classifies image files."""
    predictions = model_of(model, engine).classify_batch(files, errors="keep").to_arrow()
    return write(pa.table({"path": files}), predictions, output, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("images", help="a Parquet file, a folder of them or of images, or a glob pattern")
    parser.add_argument("output", type=pathlib.Path, help="folder for the predictions")
    parser.add_argument("--column", default="image", help="the Parquet column of images: bytes, or a struct with `bytes`")
    parser.add_argument("--engine", default="tract", choices=["tract", "ort"])
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()

    args.output.mkdir(parents=True, exist_ok=True)
    model = str(args.model.resolve())
    folder = pathlib.Path(args.images)
    found = folder.rglob("*") if folder.is_dir() else map(pathlib.Path, glob.glob(args.images))
    files = sorted(str(path.resolve()) for path in found)
    tables = [path for path in files if path.endswith(".parquet")]
    images = [path for path in files if pathlib.Path(path).suffix.lower() in ENDINGS]
    with LocalCluster(n_workers=args.workers, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        tasks = [
            client.submit(classify_group, model, args.engine, file, group, args.column, str(args.output), pure=False, retries=3)
            for file in tables
            for group in range(pq.ParquetFile(file).num_row_groups)
        ] + [
            client.submit(
                classify_files, model, args.engine, images[at : at + FILES_PER_TASK], str(args.output), f"files-{at:09}", pure=False, retries=3
            )
            for at in range(0, len(images), FILES_PER_TASK)
        ]
        progress(tasks)
        print(f"\n{sum(client.gather(tasks))} images")


if __name__ == "__main__":
    main()
