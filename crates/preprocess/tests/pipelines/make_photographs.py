# Writes photographs/ and photographs.json: what the usual pipelines of torchvision, timm, Ultralytics, Hugging Face
# and Keras make of photographs of odd sizes, modes and orientations.
#
#   python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python make_photographs.py
#
# A row is a pipeline: kiln's record, by the name of a preset or as JSON, the peer, and of each photograph every
# `stride`-th value of the peer's tensor `[channels, height, width]`, as a pixel value of 0 to 255 by the record's scale,
# mean and deviation.

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageOps

from make_golden import photograph

HERE = Path(__file__).parent
FOLDER = HERE / "photographs"
# No divisor of the sizes, so that all rows and columns are met.
STRIDE = 11
LARGE_STRIDE = 3989
SIZE = 16
PACKAGES = ["keras", "numpy", "pillow", "tensorflow-cpu", "timm", "torch", "torchvision", "transformers", "ultralytics"]


def make_photographs():
    """Names, height, width, mode and Exif orientation."""
    FOLDER.mkdir(exist_ok=True)
    for name, height, width, mode, orientation in [
        ("landscape.png", 31, 47, "RGB", 1),
        ("portrait.png", 50, 33, "RGB", 6),
        ("panorama.png", 3, 500, "RGB", 8),
        ("tower.png", 500, 3, "L", 3),
        ("pixel.png", 1, 1, "RGB", 1),
        ("odd.png", 37, 23, "LA", 2),
        ("clear.png", 39, 52, "RGBA", 5),
        ("palette.png", 44, 41, "P", 7),
        ("print.tif", 28, 36, "CMYK", 4),
        ("bits.png", 29, 61, "1", 4),
        ("deep.png", 35, 45, "I;16", 1),
        ("large.png", 97, 128, "RGB", 6),
    ]:
        if mode == "I;16":
            low = photograph(height, width, 3)[..., 1].astype(np.uint16)
            image = Image.fromarray(photograph(height, width, 1)[..., 0].astype(np.uint16) * 256 + low)
        elif mode in ("1", "P"):
            image = Image.fromarray(photograph(height, width, 3)).convert(mode)
        else:
            pixels = photograph(height, width, len(Image.new(mode, (1, 1)).getbands()))
            image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels, mode)
        if orientation > 1:
            exif = Image.Exif()
            exif[0x0112] = orientation
            options = {"exif": exif}
        else:
            options = {}
        if mode == "P":
            options["transparency"] = bytes(range(0, 256, 3)) + bytes([255] * 170)
        image.save(FOLDER / name, **options)


def names():
    return sorted(path.name for path in FOLDER.iterdir())


def tried(function, *arguments, **options):
    """None where the peer refuses: a side of no pixels."""
    try:
        return function(*arguments, **options)
    except ValueError as error:
        assert "must be > 0" in str(error) or "empty" in str(error) or "box" in str(error).lower(), error
        return None


def opened(name):
    """The photograph as stored. Pillow turns what exceeds 255 in 16 bits into white; kiln takes the high byte, as libpng
    does for TensorFlow, so that Pillow's peers get that."""
    image = Image.open(FOLDER / name)
    if image.mode == "I;16":
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image


def upright(name):
    """As `load_image` of transformers; users of torchvision and timm write the same."""
    return ImageOps.exif_transpose(opened(name)).convert("RGB")


def row(pipeline, peer, record, outputs, **more):
    """`outputs` are arrays `[channels, height, width]` in the order of the names; `record` is the name of a preset with
    height and width, or kiln's JSON, `more` the scale, mean and deviation."""
    scale, mean, std = more.pop("scale"), more.pop("mean"), more.pop("std")
    floats = more.pop("floats", False)
    stride = STRIDE
    cases = {}
    for name, output in zip(names(), outputs, strict=True):
        # The peer refuses it.
        if output is None:
            continue
        output = np.asarray(output, np.float64)
        assert output.ndim == 3 and output.shape[0] == 3, (pipeline, output.shape)
        pixels = (output * np.reshape(std, (3, 1, 1)) + np.reshape(mean, (3, 1, 1))) / scale
        stride = STRIDE if pixels.size < 10000 else LARGE_STRIDE
        sampled = [round(float(value), 3) for value in pixels.ravel()[::stride]]
        cases[name] = [int(value) if value == int(value) else value for value in sampled]
    return {"pipeline": pipeline, "peer": peer, "floats": floats, "stride": stride, **record, **more, "cases": cases}


def preset(name, height=SIZE, width=SIZE):
    return {"preset": name, "size": [height, width]}


UNIT = {"scale": 1 / 255, "mean": [0, 0, 0], "std": [1, 1, 1]}
IMAGENET = {"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
HALF = {"scale": 1 / 255, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
OPENAI = {
    "scale": 1 / 255,
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
}


def record(values, tensor=(SIZE, SIZE), channels="rgb", orientation=True, **resize):
    resize = {"antialias": False, **resize}
    return {
        "record": {
            "orientation": orientation,
            "height": tensor[0],
            "width": tensor[1],
            "channels": channels,
            "resize": resize,
            **values,
        }
    }


def torchvision_rows():
    from torchvision.transforms._presets import ImageClassification
    from torchvision.transforms.v2.functional import pil_to_tensor

    transforms = ImageClassification(crop_size=SIZE, resize_size=int(SIZE / 0.875))
    images = [upright(name) for name in names()]
    yield row("`torchvision`", "torchvision, PIL images", preset("torchvision"), map(transforms, images), **IMAGENET)
    tensors = [transforms(pil_to_tensor(image)) for image in images]
    yield row("`torchvision`", "torchvision, tensors", preset("torchvision"), tensors, **IMAGENET)


def timm_rows():
    from timm.data import create_transform, resolve_data_config

    def outputs(**config):
        config = resolve_data_config({"input_size": (3, SIZE, SIZE), **config})
        transform = create_transform(**config)
        return [tried(transform, upright(name)) for name in names()]

    yield row("`timm`", "timm", preset("timm"), outputs(), **IMAGENET)
    grey = [round(255 * mean) for mean in IMAGENET["mean"]]
    for mode, fit in [("center", "shorter"), ("squash", "stretch"), ("border", "longer")]:
        for filter, part in [("bicubic", 0.95), ("bilinear", 0.9)]:
            config = {"crop_mode": mode, "crop_pct": part, "interpolation": filter}
            to = int(SIZE / part)
            resize = {"fit": fit, "size": [to, to], "filter": filter, "antialias": True, "arithmetic": "pillow"}
            if to == SIZE:
                del resize["size"]
            if mode == "border":
                resize["padding"] = grey
            found = {"pretrained_cfg": {"input_size": [3, SIZE, SIZE], **config}}
            yield row(f"timm's `{mode}`, {filter}", "timm", record(IMAGENET, **resize), outputs(**config), **IMAGENET, config=found)


def ultralytics_rows():
    from ultralytics.data.augment import classify_transforms

    for size in [(SIZE, SIZE), (12, 20)]:
        transforms = classify_transforms(size[0] if size[0] == size[1] else size)
        outputs = [transforms(upright(name)) for name in names()]
        title = "`ultralytics`" if size[0] == size[1] else "`ultralytics`, not square"
        yield row(title, "Ultralytics", preset("ultralytics", *size), outputs, **UNIT)


# Name of the processor, what its configuration says, and kiln's resize and values.
SQUARE = {"height": SIZE, "width": SIZE}
SHORTER = {"fit": "shorter", "size": [18, 18]}
PROCESSORS = [
    ("ViT", {"size": SQUARE}, {"filter": "bilinear"}, HALF, {}),
    ("DeiT", {"size": {"height": 19, "width": 19}, "crop_size": SQUARE}, {"size": [19, 19], "filter": "bicubic"}, HALF, {}),
    ("CLIP", {"size": {"shortest_edge": 18}, "crop_size": SQUARE}, {**SHORTER, "filter": "bicubic"}, OPENAI, {}),
    ("CLIP", {"size": {"shortest_edge": SIZE}, "crop_size": SQUARE}, {"fit": "shorter", "filter": "bicubic"}, OPENAI, {}),
    ("Bit", {"size": {"shortest_edge": 19}, "crop_size": SQUARE}, {"fit": "shorter", "size": [19, 19], "filter": "bicubic"}, OPENAI, {}),
    ("ConvNext", {"size": {"shortest_edge": SIZE}}, {**SHORTER, "filter": "bicubic"}, HALF, {}),
    ("ConvNext", {"size": {"shortest_edge": 384}}, {"filter": "bicubic"}, HALF, {"tensor": (384, 384)}),
    ("MobileNetV1", {"size": {"shortest_edge": 18}, "crop_size": SQUARE}, {**SHORTER, "filter": "bilinear"}, HALF, {}),
    ("MobileNetV2", {"size": {"shortest_edge": 18}, "crop_size": SQUARE}, {**SHORTER, "filter": "bilinear"}, HALF, {}),
    (
        "EfficientNet",
        {"size": {"height": SIZE, "width": SIZE}},
        {"filter": "bicubic"},
        {"scale": 1 / 255, "mean": [0.5] * 3, "std": [0.25] * 3},
        {},
    ),
    (
        "EfficientNet",
        {"size": SQUARE, "resample": 0, "rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False, "include_top": False},
        {"filter": "nearest"},
        {"scale": 1 / 127.5, "mean": [1.0] * 3, "std": [1.0] * 3},
        {},
    ),
    ("Levit", {"size": {"shortest_edge": SIZE}, "crop_size": SQUARE}, {**SHORTER, "filter": "bicubic"}, IMAGENET, {}),
    ("PoolFormer", {"size": {"shortest_edge": SIZE}, "crop_size": SQUARE}, {"fit": "shorter", "size": [17, 17], "filter": "bicubic"}, IMAGENET, {}),
    ("Beit", {"size": SQUARE}, {"filter": "bicubic"}, HALF, {}),
    ("Siglip", {"size": SQUARE, "resample": 1}, {"filter": "lanczos"}, HALF, {}),
    ("Pvt", {"size": SQUARE}, {"filter": "bicubic"}, IMAGENET, {}),
    ("MobileViT", {"size": {"shortest_edge": 18}, "crop_size": SQUARE}, {**SHORTER, "filter": "bicubic"}, UNIT, {"channels": "bgr"}),
]


def height_first(image, resize, size):
    """Whether Pillow resizes along the height first. Tensors are always resized along the width first, and what a filter
    overshoots is clipped otherwise."""
    height, width = image.height, image.width
    to_height, to_width = resize.get("size", size)
    if resize.get("fit") == "shorter":
        short, long = sorted([height, width])
        to_long = to_height * long // short
        to_height, to_width = (to_long, to_width) if width <= height else (to_height, to_long)
    rows, columns = height - to_height, width - to_width
    return rows > 0 and rows > 2 * columns


def transformers_rows():
    import transformers
    from transformers.image_utils import load_image

    images = [load_image(opened(name)) for name in names()]
    for name, config, resize, values, options in PROCESSORS:
        edges = [side for key in ("size", "crop_size") for side in config.get(key, {}).values()]
        title = f"`{name}ImageProcessor`" + ("" if max(edges) < 384 else ", 384")
        if config.get("rescale_offset"):
            title += ", offset"
        resize = {**resize, "antialias": True, "arithmetic": "pillow", "crop_rounding": "down"}
        for peer, suffix in [("transformers, PIL", "Pil"), ("transformers, torchvision", "")]:
            processor = getattr(transformers, f"{name}ImageProcessor{suffix}")(**config)
            outputs = [np.asarray(processor(image, return_tensors="np")["pixel_values"][0]) for image in images]
            if suffix == "" and resize["filter"] in ("bicubic", "lanczos"):
                size = options.get("tensor", (SIZE, SIZE))
                other = [height_first(image, resize, size) for image in images]
                outputs = [None if other else output for other, output in zip(other, outputs, strict=True)]
            found = {**config, "image_processor_type": f"{name}ImageProcessor"}
            yield row(title, peer, record(values, **resize, **options), outputs, **values, config=found)


def keras_rows():
    import keras
    from keras.applications import imagenet_utils

    def preprocessed(images, mode):
        def one(image):
            return imagenet_utils.preprocess_input(np.array(image, np.float32), mode=mode).transpose(2, 0, 1)

        return [None if image is None else one(image) for image in images]

    modes = {
        "caffe": {"scale": 1, "mean": [103.939, 116.779, 123.68], "std": [1, 1, 1]},
        "torch": IMAGENET,
        "tf": {"scale": 1 / 127.5, "mean": [1, 1, 1], "std": [1, 1, 1]},
    }
    # `load_img` reads 16 bits by Pillow; see `opened`.
    paths = []
    for name in names():
        path = FOLDER / name
        if Image.open(path).mode == "I;16":
            path = Path(TEMPORARY.name) / name
            opened(name).save(path)
        paths.append(path)
    for keep in (False, True):
        for filter in ("nearest", "bilinear", "bicubic", "lanczos"):
            options = {"target_size": (12, 20), "interpolation": filter, "keep_aspect_ratio": keep}
            images = [tried(keras.utils.load_img, path, **options) for path in paths]
            for mode, values in modes.items():
                if filter != "nearest" and mode != "caffe":
                    continue
                resize = {"filter": filter, "antialias": filter != "nearest", "arithmetic": "pillow"}
                if keep:
                    resize["fit"] = "crop_to_aspect_ratio"
                title = f"`{mode}`, " + (f"{filter}" if not keep else f"{filter}, keep_aspect_ratio")
                channels = "bgr" if mode == "caffe" else "rgb"
                pipeline = record(values, (12, 20), channels, False, **resize)
                yield row(title, "Keras `load_img`", pipeline, preprocessed(images, mode), **values)

    folder = Path(TEMPORARY.name) / "dataset" / "class"
    folder.mkdir(parents=True)
    for name in names():
        # TensorFlow reads neither TIFF nor its colors.
        if name.endswith(".png"):
            (folder / name).write_bytes((FOLDER / name).read_bytes())
        else:
            Image.open(FOLDER / name).convert("RGB").save(folder / f"{Path(name).stem}.png")
    assert sorted(path.stem for path in folder.iterdir()) == [Path(name).stem for name in names()]

    def dataset(size, **options):
        found = keras.utils.image_dataset_from_directory(
            folder.parent, labels=None, batch_size=None, shuffle=False, image_size=size, verbose=False, **options
        )
        return [np.asarray(image) for image in found]

    for size in [(SIZE, SIZE), (12, 20)]:
        for filter in ("bilinear", "nearest", "bicubic", "lanczos3"):
            for crop in (False, True):
                if size[0] != size[1] and filter not in ("bilinear", "bicubic"):
                    continue
                images = dataset(size, interpolation=filter, crop_to_aspect_ratio=crop)
                images = [np.asarray(keras.layers.Rescaling(1 / 255)(image)) for image in images]
                outputs = [image.transpose(2, 0, 1) for image in images]
                title = f"`unit`, {filter}" + (", crop_to_aspect_ratio" if crop else "") + ("" if size[0] == size[1] else ", not square")
                if (filter, crop, size) == ("bilinear", False, (SIZE, SIZE)):
                    pipeline = preset("unit")
                else:
                    resize = {"filter": filter.removesuffix("3"), **({"fit": "crop_to_aspect_ratio"} if crop else {})}
                    pipeline = record(UNIT, size, "rgb", False, **resize)
                yield row(title, "Keras `image_dataset_from_directory`", pipeline, outputs, **UNIT, floats=True)
    for mode, values in modes.items():
        images = dataset((SIZE, SIZE))
        yield row(f"`{mode}`", "Keras `image_dataset_from_directory`", preset(mode), preprocessed(images, mode), **values, floats=True)
    for antialias in (False, True):
        layers = [keras.layers.Resizing(19, 19, antialias=antialias), keras.layers.CenterCrop(SIZE, SIZE), keras.layers.Rescaling(1 / 127.5, -1)]
        stored = [np.array(opened(name).convert("RGB"), np.float32) for name in names()]
        outputs = []
        for image in stored:
            for layer in layers:
                image = layer(image)
            outputs.append(np.asarray(image).transpose(2, 0, 1))
        resize = {"size": [19, 19], "antialias": antialias, "crop_rounding": "down"}
        title = "`tf`, Resizing, CenterCrop, Rescaling" + (", antialias" if antialias else "")
        yield row(title, "Keras layers", record(modes["tf"], orientation=False, **resize), outputs, **modes["tf"], floats=True)


def processors():
    """What the processors do where their configuration leaves it out."""
    import transformers

    for name in sorted({processor[0] for processor in PROCESSORS}):
        yield json.loads(getattr(transformers, f"{name}ImageProcessor")().to_json_string())


PEERS = [torchvision_rows, timm_rows, ultralytics_rows, transformers_rows, keras_rows]
TEMPORARY = TemporaryDirectory()


def json_lines(argument):
    """What this script prints with an argument, without what libraries print."""
    run = subprocess.run([sys.executable, __file__, argument], stdout=subprocess.PIPE, check=True)
    return [line for line in run.stdout.decode().splitlines() if line.startswith(("{", "["))]


def main():
    if sys.argv[1:] == ["processors"]:
        print(json.dumps(list(processors())))
        return
    if len(sys.argv) == 2:
        for found in PEERS[int(sys.argv[1])]():
            print(json.dumps(found, separators=(",", ":")))
        return
    make_photographs()
    # Each in a process of its own: PyTorch and TensorFlow do not load together.
    *rows, defaults = [json_lines(argument) for argument in [*map(str, range(len(PEERS))), "processors"]]
    lines = ",\n".join(line for found in rows for line in found)
    versions = json.dumps({name: version(name) for name in PACKAGES})
    text = f'{{"versions":{versions},\n"processors":{defaults[0]},\n"rows":[\n{lines}\n]}}\n'
    (HERE / "photographs.json").write_text(text)


if __name__ == "__main__":
    main()
