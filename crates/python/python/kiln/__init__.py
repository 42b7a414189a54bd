"""Image classifiers out of ONNX files, prepared and computed as the file records.

    import kiln

    model = kiln.Model("model.onnx")
    print(model.classify("photo.jpg"))

Images are paths, the bytes of image files, PIL images, or pixels: uint8 arrays of height x width, or height x width x
channels (1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha). Many of them are a sequence of such, an array with one more axis in
front, or an Arrow array of bytes or paths. A model may be used from any number of threads; it computes without Python's global
lock. It is pickled as its path and options, so that every process loads it for itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from . import _kiln
from ._kiln import ImageError, KilnError, LoadError, __version__

if TYPE_CHECKING:
    import pyarrow as _pa

__all__ = [
    "ImageError",
    "KilnError",
    "LoadError",
    "Model",
    "Prediction",
    "Predictions",
    "__version__",
    "evaluate",
]

Image: TypeAlias = Any
"""A path, the bytes of an image file, a PIL image, or a uint8 array of height x width (x channels)."""

Images: TypeAlias = Any
"""A sequence of images, a uint8 array of images x height x width (x channels), or an Arrow array of bytes or paths."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The prediction for one image."""

    label: str
    """The predicted class."""
    index: int
    """Its place among the labels, from 0."""
    probability: float
    """Its probability, 0 to 1."""
    probabilities: npt.NDArray[np.float32]
    """The probability of each class, in the order of the labels."""
    scores: npt.NDArray[np.float32]
    """What the graph gave for each class: logits or probabilities."""
    labels: Sequence[str]
    """The names of the classes."""

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The `k` most probable classes with their probabilities; of equal ones the first."""
        order = np.argsort(-self.probabilities, kind="stable")[: max(k, 0)]
        return [(self.labels[at], float(self.probabilities[at])) for at in order]

    def __repr__(self) -> str:
        return f"Prediction(label={self.label!r}, index={self.index}, probability={self.probability:.4f})"


class Predictions(Sequence[Prediction]):
    """The predictions for a batch, in the order of its images.

    Images that could not be classified, where that is no error, are in `errors`: their rows are NaN, their index is -1.
    """

    __slots__ = ("errors", "indices", "labels", "probabilities", "scores")

    labels: Sequence[str]
    """The names of the classes."""
    indices: npt.NDArray[np.int64]
    """The place of each predicted class among the labels, `[images]`."""
    probabilities: npt.NDArray[np.float32]
    """The probability of each class, 0 to 1, `[images, classes]`."""
    scores: npt.NDArray[np.float32]
    """What the graph gave for each class, `[images, classes]`."""
    errors: Mapping[int, str]
    """Why images could not be classified, by their place."""

    def __init__(
        self,
        labels: Sequence[str],
        indices: npt.NDArray[np.int64],
        probabilities: npt.NDArray[np.float32],
        scores: npt.NDArray[np.float32],
        errors: Mapping[int, str],
    ) -> None:
        self.labels = labels
        self.indices = indices
        self.probabilities = probabilities
        self.scores = scores
        self.errors = errors

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, at: int) -> Prediction: ...
    @overload
    def __getitem__(self, at: slice) -> list[Prediction]: ...
    def __getitem__(self, at: int | slice) -> Prediction | list[Prediction]:
        if isinstance(at, slice):
            return [self[row] for row in range(*at.indices(len(self)))]
        row = range(len(self))[at]
        if row in self.errors:
            raise ImageError(f"image {row}: {self.errors[row]}")
        index = int(self.indices[row])
        probabilities = self.probabilities[row]
        return Prediction(
            self.labels[index], index, float(probabilities[index]), probabilities, self.scores[row], self.labels
        )

    def __iter__(self) -> Iterator[Prediction]:
        return (self[row] for row in range(len(self)))

    def __repr__(self) -> str:
        failed = f", {len(self.errors)} failed" if self.errors else ""
        return f"<kiln.Predictions of {len(self)} images{failed}>"

    def names(self) -> list[str | None]:
        """The predicted class of each image; `None` where there is none."""
        return [None if index < 0 else self.labels[index] for index in self.indices.tolist()]

    def confidences(self) -> npt.NDArray[np.float32]:
        """The probability of each predicted class, `[images]`; NaN where there is none."""
        rows = np.arange(len(self))
        return np.where(self.indices < 0, np.float32("nan"), self.probabilities[rows, self.indices])

    def to_arrow(self) -> _pa.RecordBatch:
        """A record batch with `label`, `probability`, `probabilities` (as many as there are classes) and `error`; needs
        `pyarrow`."""
        import pyarrow as pa

        classes = self.probabilities.shape[1]
        failed = self.indices < 0
        flat = pa.array(self.probabilities.reshape(-1))
        columns = {
            "label": pa.DictionaryArray.from_arrays(
                pa.array(np.maximum(self.indices, 0), mask=failed, type=pa.int32()), pa.array(list(self.labels), pa.string())
            ),
            "probability": pa.array(self.confidences(), mask=failed),
            "probabilities": pa.FixedSizeListArray.from_arrays(flat, classes, mask=pa.array(failed)),
            "error": pa.array([self.errors.get(row) for row in range(len(self))], pa.string()),
        }
        return pa.record_batch(columns)


class Model:
    """A classifier out of an ONNX file, with the preprocessing and labels that the file, a sidecar, or `settings` specify."""

    __slots__ = ("_embedders", "_labels", "_model", "_options", "_path", "_turns")

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        engine: str | None = None,
        device: str = "cpu",
        threads: int | None = None,
        library: str | os.PathLike[str] | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """Loads a model.

        path: The file, the directory of a run, or the name of a network, such as `mobilenet-v2`.
        engine: `tract` or `ort` (ONNX Runtime); tract if not given.
        device: `cpu` or `cuda`.
        threads: Threads that the model uses; as many as there are cores if not given. Processes that share a machine should get
            one each.
        library: ONNX Runtime's shared library; looked for if not given.
        settings: What the file leaves open, with the keys of a sidecar, such as `{"preprocess": "torch", "labels": "labels.txt"}`.

        Raises LoadError.
        """
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, found {threads}")
        self._path = os.fspath(path)
        self._options: dict[str, Any] = {
            "engine": engine,
            "device": device,
            "threads": threads,
            "library": None if library is None else os.fspath(library),
            "settings": dict(settings or {}),
        }
        self._model = _kiln.Model(self._path, self._native())
        self._labels = tuple(self._model.labels)
        self._embedders: dict[str | None, _kiln.Embedder] = {}
        self._turns = bool(self.receipt["preprocessing"].get("orientation", False))

    def _native(self) -> dict[str, Any]:
        settings = [f"{key}={_word(value)}" for key, value in self._options["settings"].items()]
        return self._options | {"settings": settings}

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (os.path.abspath(self._path) if os.path.exists(self._path) else self._path, self._options)

    def __repr__(self) -> str:
        return f"kiln.Model({self._path!r}, {len(self._labels)} classes, {self.receipt['runtime']['engine']})"

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the scores."""
        return self._labels

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the graph takes."""
        channels, height, width = self._model.shape
        return channels, height, width

    @property
    def output(self) -> str:
        """What the scores are: `logits`, `probabilities`, `log_probabilities`, `sigmoid` or `sigmoid_logits`."""
        return self._model.output

    @property
    def receipt(self) -> dict[str, Any]:
        """What computes the scores, and how images become its input: versions, engine, device, threads, preprocessing."""
        receipt: dict[str, Any] = json.loads(self._model.receipt())
        return receipt

    def classify(self, image: Image) -> Prediction:
        """Classifies one image. Raises ImageError if it cannot be read."""
        return self.classify_batch([image])[0]

    def classify_batch(self, images: Images, *, batch_size: int | None = None, errors: str = "raise") -> Predictions:
        """Classifies images on all of the model's threads: decodes, prepares and computes them in batches.

        batch_size: Images per run of each thread; 64, or fewer of large images, if not given.
        errors: `raise` raises ImageError for the first image that cannot be read; `keep` keeps the reasons in
            `Predictions.errors`.
        """
        if errors not in ("raise", "keep"):
            raise ValueError(f"errors must be 'raise' or 'keep', found {errors!r}")
        probabilities, scores, indices, failures = self._model.classify(self._prepared(images), _batch_size(batch_size))
        if failures and errors == "raise":
            index, reason = failures[0]
            raise ImageError(f"image {index}: {reason}")
        return Predictions(self._labels, indices, probabilities, scores, dict(failures))

    def preprocess(self, images: Images) -> npt.NDArray[np.float32]:
        """Prepares images exactly as `classify_batch` does: the graph's input, `[images, channels, height, width]`."""
        return self._model.preprocess(self._prepared(images))

    def embed(
        self, images: Images, *, output: str | None = None, batch_size: int | None = None
    ) -> npt.NDArray[np.float32]:
        """Computes feature vectors, `[images, features]`: what the classifier takes, or `output`, a segment, node or value of the
        graph. Raises ImageError for an image that cannot be read, LoadError if there is no such value or it is no vector."""
        embedder = self._embedders.get(output)
        if embedder is None:
            embedder = self._embedders[output] = _kiln.Embedder(self._path, output, self._native())
        return embedder.embed(self._prepared(images), _batch_size(batch_size))

    def verify(self) -> dict[str, Any]:
        """Replays the golden vectors of the file from raw pixels to scores; `passed` says whether this machine computes what
        was computed at the training. Raises KilnError if the file has none."""
        record: dict[str, Any] = json.loads(self._model.verify())
        return record

    def _prepared(self, images: Images) -> Iterable[Any]:
        if isinstance(images, (str, bytes, os.PathLike)):
            raise TypeError("expected several images, found one: put it into a list")
        if hasattr(images, "__arrow_c_array__") or hasattr(images, "__arrow_c_stream__"):
            images = _arrow(images)
        if isinstance(images, np.ndarray):
            if images.dtype != np.uint8 or images.ndim not in (3, 4):
                raise TypeError(
                    "expected a uint8 array of images x height x width (x channels), "
                    f"found {images.dtype} of the shape {images.shape}"
                )
            return list(np.ascontiguousarray(images))
        return [self._one(image) for image in images]

    def _one(self, image: Image) -> Any:
        if isinstance(image, (str, bytes, os.PathLike)):
            return image
        if isinstance(image, np.ndarray):
            return np.ascontiguousarray(image)
        if isinstance(image, (bytearray, memoryview)):
            return bytes(image)
        if hasattr(image, "convert") and hasattr(image, "mode"):
            return _pixels(image, turn=self._turns)
        return image


def evaluate(
    model: Model,
    data: str | os.PathLike[str],
    *,
    batch_size: int | None = None,
    top_k: int | None = None,
    skip_unreadable: bool = False,
) -> dict[str, Any]:
    """Measures a model on labeled images: accuracy, loss, calibration, confusion, images/s, as `kiln eval --json` writes them.

    data: What `kiln eval --data` takes: a folder of class folders, a CSV list, a glob pattern, an IDX file, or a dataset's name.
    """
    native = model._model
    record: dict[str, Any] = json.loads(
        native.evaluate(os.fspath(data), _batch_size(batch_size), top_k, skip_unreadable)
    )
    return record


def _load(path: str, options: dict[str, Any]) -> Model:
    return Model(path, **options)


def _word(value: object) -> str:
    """A setting as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return json.dumps(value)
    return str(value)


def _batch_size(batch_size: int | None) -> int | None:
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, found {batch_size}")
    return batch_size


def _arrow(images: Any) -> list[Any]:
    """The values of an Arrow array, or of the `bytes` of Hugging Face's struct of `bytes` and `path`."""
    import pyarrow as pa

    array = pa.chunked_array(images) if hasattr(images, "__arrow_c_stream__") else pa.array(images)
    kind = array.type
    if pa.types.is_struct(kind):
        rows = array.to_pylist()
        values = [row if row is None else row.get("bytes") or row.get("path") for row in rows]
    elif any(check(kind) for check in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)) or any(
        check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    ):
        values = array.to_pylist()
    else:
        raise TypeError(f"expected an Arrow array of bytes or of paths, found {kind}")
    for index, value in enumerate(values):
        if value is None:
            raise ImageError(f"image {index}: it is null")
    return values


def _pixels(image: Any, *, turn: bool) -> npt.NDArray[np.uint8]:
    """The pixels of a PIL image as kiln's decoders would give them: upright if the model's record says so, and with alpha where
    the image has transparency."""
    if turn:
        from PIL import ImageOps

        image = ImageOps.exif_transpose(image)
    if image.mode in ("I;16", "I;16B", "I;16L"):
        return np.ascontiguousarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGB")
    return np.ascontiguousarray(np.asarray(image))
