"""model.py MODEL PORT: serves a model of digits by Triton, whose Python backend runs onnxruntime: HTTP at the port, gRPC at the next."""

import sys

import numpy
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig, TritonSecurityConfig

PORT = int(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])


@batch
def infer(input):
    [logits] = session.run(None, {"input": input})
    powers = numpy.exp(logits - logits.max(1, keepdims=True))
    labels = [[str(label).encode()] for label in logits.argmax(1)]
    return {"logits": logits, "probabilities": powers / powers.sum(1, keepdims=True), "label": numpy.array(labels)}


def main():
    config = TritonConfig(http_address="127.0.0.1", http_port=PORT, grpc_address="127.0.0.1", grpc_port=PORT + 1,
                          metrics_address="127.0.0.1", metrics_port=PORT + 2)
    # Without a token for statistics, loading and the like.
    security = TritonSecurityConfig(restricted_endpoints=[])
    inputs = [Tensor(name="input", dtype=numpy.float32, shape=(1, 28, 28))]
    outputs = [Tensor(name=name, dtype=numpy.float32, shape=(10,)) for name in ("logits", "probabilities")]
    # A batch of texts without a second axis is none that Triton has.
    outputs.append(Tensor(name="label", dtype=bytes, shape=(1,)))
    with Triton(config=config, security_config=security) as triton:
        triton.bind(model_name="digits", infer_func=infer, inputs=inputs, outputs=outputs,
                    config=ModelConfig(max_batch_size=128, batcher=DynamicBatcher()))
        triton.serve()


main()
