"""Reads tensors out of PyTorch's legacy files and pickles of NumPy arrays, with numpy alone."""

import collections
import pickle
import struct

import numpy as np

TYPES = {"FloatStorage": np.float32, "LongStorage": np.int64}


class Storage:
    """Values of a file that tensors are views of; they follow after the pickle."""

    def __init__(self, dtype):
        self.dtype, self.values = np.dtype(dtype), None


class View:
    """A tensor whose values may not have been read yet."""

    def __init__(self, storage, offset, shape, strides, *_):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self):
        strides = [stride * self.storage.dtype.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(self.storage.values[self.offset :], self.shape, strides).copy()


class Unpickler(pickle.Unpickler):
    """An unpickler that knows only what files of weights need."""

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return View
        if module == "torch" and name in TYPES:
            return TYPES[name]
        if module.startswith("numpy"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, identifier):
        _, dtype, key, *_ = identifier
        return self.storages.setdefault(key, Storage(dtype))


def read(path):
    """Returns the arrays of a file by name; those of lists as `NAME.0`, `NAME.1`."""
    with open(path, "rb") as file:
        tree = Unpickler(file).load()
        if isinstance(tree, dict):
            return {f"{name}.{at}": array for name, arrays in tree.items() for at, array in enumerate(arrays)}
        assert tree == 0x1950A86A20F9469CFC6C, "neither a dictionary nor PyTorch's magic number"
        for _ in range(2):
            Unpickler(file).load()
        reader = Unpickler(file)
        tree = reader.load()
        for key in Unpickler(file).load():
            storage = reader.storages[key]
            (count,) = struct.unpack("<q", file.read(8))
            storage.values = np.frombuffer(file.read(count * storage.dtype.itemsize), storage.dtype)
        return {name: view.array() for name, view in tree.items()}
