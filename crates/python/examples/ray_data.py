"""Classifies images with Ray Data: a Parquet file or folder of them, or image files, in; Parquet files with predictions out.

    python ray_data.py model.onnx 'images/*.parquet' predictions/ --workers 2
    python ray_data.py model.onnx photos/ predictions/ --workers 2

What Ray wants, and what goes wrong otherwise:

- A class, not a function, goes to `map_batches`: each worker (an actor) loads the model once, in `__init__`.
- A model gets one thread, as the worker gets one core (`num_cpus=1`): threads of several models on the same cores only get in each
  other's way, and Ray does not know of them.
- Batches are Arrow tables (`batch_format="pyarrow"`): the bytes of images reach the model as Ray has them, not as Python objects
  in a data frame. 256 images of 100 kB are 25 MB; larger batches cost memory and make nothing faster.
- A worker that dies is started again, and what it had is done once more, only if `max_restarts` and `max_task_retries` say so. Files
  are named by block, so that what is done once more replaces what was there.
- Images that cannot be read are rows with an `error` and no label; an exception would be tried again, and then end all.
"""

import argparse
import pathlib

import pyarrow as pa
import ray

import kiln


class Classifier:
    """A worker's model."""

    def __init__(self, path: str, engine: str, column: str) -> None:
        self.model = kiln.Model(path, engine=engine, threads=1)
        self.column = column

    def __call__(self, batch: pa.Table) -> pa.Table:
        predictions = self.model.classify_batch(batch.column(self.column), errors="keep").to_arrow()
        table = batch.drop_columns([self.column])
        for name in ["label", "probability", "error"]:
            column = predictions.column(name)
            # Words by number are of one batch; other batches may have other numbers.
            table = table.append_column(name, column.cast(pa.string()) if name == "label" else column)
        return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("images", help="a Parquet file, a folder of them or of images, or a glob pattern")
    parser.add_argument("output", help="folder for the predictions")
    parser.add_argument("--column", default="image", help="the Parquet column of images: bytes, or a struct with `bytes`")
    parser.add_argument("--engine", default="tract", choices=["tract", "ort"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=256)
    args = parser.parse_args()

    ray.init(num_cpus=args.workers + 1, include_dashboard=False, log_to_driver=False)
    folder = pathlib.Path(args.images)
    is_parquet = ".parquet" in args.images or any(folder.glob("*.parquet"))
    if is_parquet:
        images, column = ray.data.read_parquet(args.images), args.column
    else:
        images, column = ray.data.read_binary_files(args.images, include_paths=True), "bytes"
    predictions = images.map_batches(
        Classifier,
        fn_constructor_args=(str(args.model.resolve()), args.engine, column),
        batch_format="pyarrow",
        batch_size=args.batch_size,
        compute=ray.data.ActorPoolStrategy(size=args.workers),
        num_cpus=1,
        max_restarts=-1,
        max_task_retries=-1,
    )
    predictions.write_parquet(args.output)


main()
