from collections.abc import Iterable
from typing import Any, final

import numpy as np
import numpy.typing as npt

__all__ = ["Embedder", "ImageError", "KilnError", "LoadError", "Model", "__version__"]

__version__: str

class KilnError(Exception):
    """An error of kiln, with its message."""

class LoadError(KilnError):
    """A model cannot be loaded."""

class ImageError(KilnError):
    """An image cannot be read or prepared."""

@final
class Model:
    def __new__(
        cls,
        path: str,
        options: dict[str, Any],
    ) -> Model: ...
    @property
    def labels(self) -> list[str]: ...
    @property
    def shape(self) -> list[int]: ...
    @property
    def output(self) -> str: ...
    @property
    def has_several(self) -> bool: ...
    def receipt(self) -> str: ...
    def classify(
        self, images: Iterable[Any], batch_size: int | None
    ) -> tuple[
        npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64], list[tuple[int, str]]
    ]: ...
    def preprocess(self, images: Iterable[Any]) -> npt.NDArray[np.float32]: ...
    def verify(self) -> str: ...
    def evaluate(
        self, data: str, batch_size: int | None, top_k: int | None, skip_unreadable: bool
    ) -> str: ...

@final
class Embedder:
    def __new__(
        cls,
        path: str,
        output: str | None,
        options: dict[str, Any],
    ) -> Embedder: ...
    @property
    def features(self) -> int: ...
    def embed(self, images: Iterable[Any], batch_size: int | None) -> npt.NDArray[np.float32]: ...
