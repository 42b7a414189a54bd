"""pytriton_app.py PORT INSTANCES: PyTriton, its dynamic batcher and as many instances of the model."""

import sys

import numpy
from classifier import MAX_BATCH, Classifier
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

PORT, INSTANCES = map(int, sys.argv[1:])


def instance():
    classifier = Classifier()

    @batch
    def infer(image):
        labels = classifier.classify(image[:, 0])
        return {"label": numpy.array([[label.encode()] for label in labels])}

    return infer


def main():
    config = TritonConfig(http_address="127.0.0.1", http_port=PORT, allow_grpc=False, allow_metrics=False)
    with Triton(config=config) as triton:
        triton.bind(model_name="model", infer_func=[instance() for _ in range(INSTANCES)],
                    inputs=[Tensor(name="image", dtype=bytes, shape=(1,))], outputs=[Tensor(name="label", dtype=bytes, shape=(1,))],
                    config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher()))
        triton.serve()


main()
