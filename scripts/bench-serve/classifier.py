"""What every server here but kiln's does with images: Pillow, NumPy and onnxruntime. The environment names the model, its kind and
the threads of a session."""

import io
import os

import numpy
import onnxruntime
from PIL import Image

MEAN, STD = (numpy.array(values, numpy.float32) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
# The most images that a server puts into a batch, as kiln's does.
MAX_BATCH = 16


def digit(image):
    return numpy.asarray(image.convert("L"), numpy.float32)[None] * numpy.float32(1 / 255)


def photograph(image):
    """As torchvision's weights for ImageNet: 256, 224 in the middle."""
    image = image.convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BILINEAR)
    left, top = ((side - 224) // 2 for side in image.size)
    pixels = numpy.asarray(image.crop((left, top, left + 224, top + 224)), numpy.float32) / 255
    return ((pixels - MEAN) / STD).transpose(2, 0, 1)


class Classifier:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["THREADS"])
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.values = {"digit": digit, "photograph": photograph}[os.environ["KIND"]]

    def prepare(self, file):
        """The values of an image file."""
        return self.values(Image.open(io.BytesIO(file)))

    def run(self, prepared):
        """The predicted class of each image."""
        scores = self.session.run(None, {self.input: numpy.ascontiguousarray(numpy.stack(prepared))})[0]
        return [str(label) for label in scores.argmax(1)]

    def classify(self, files):
        return self.run([self.prepare(file) for file in files])
