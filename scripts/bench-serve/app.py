"""What is usually written: FastAPI around onnxruntime and Pillow. The environment names the model, its kind and the threads."""

import io
import os

import numpy
import onnxruntime
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from PIL import Image

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(os.environ["THREADS"])
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
MEAN, STD = (numpy.array(values, numpy.float32) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
app = FastAPI()


def digit(image):
    return numpy.asarray(image.convert("L"), numpy.float32)[None, None] * numpy.float32(1 / 255)


def photograph(image):
    """As torchvision's weights for ImageNet: 256, 224 in the middle."""
    image = image.convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BILINEAR)
    left, top = ((side - 224) // 2 for side in image.size)
    pixels = numpy.asarray(image.crop((left, top, left + 224, top + 224)), numpy.float32) / 255
    return numpy.ascontiguousarray(((pixels - MEAN) / STD).transpose(2, 0, 1)[None])


prepare = {"digit": digit, "photograph": photograph}[os.environ["KIND"]]


def classify(body):
    try:
        image = Image.open(io.BytesIO(body))
        values = prepare(image)
    except OSError as error:
        raise HTTPException(400, str(error)) from error
    scores = session.run(None, {name: values})[0][0]
    best = int(scores.argmax())
    return {"label": str(best), "probability": float(scores[best])}


@app.post("/predict")
async def predict(request: Request):
    # In a thread, so that the loop goes on reading other requests.
    return await run_in_threadpool(classify, await request.body())
