"""What is usually written: FastAPI, a request at a time."""

from classifier import Classifier
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool

classifier = Classifier()
app = FastAPI()


def classify(body):
    try:
        [label] = classifier.classify([body])
    except OSError as error:
        raise HTTPException(400, str(error)) from error
    return {"label": label}


@app.post("/predict")
async def predict(request: Request):
    # In a thread, so that the loop goes on reading other requests.
    return await run_in_threadpool(classify, await request.body())
