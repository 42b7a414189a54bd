"""litserve_app.py PORT BATCH: LitServe with two workers, which put up to BATCH requests of a millisecond together; images come as
base64 in JSON."""

import base64
import sys

import litserve
from classifier import Classifier

PORT, BATCH = map(int, sys.argv[1:])


class Digits(litserve.LitAPI):
    def setup(self, device):
        self.classifier = Classifier()

    def decode_request(self, request):
        return self.classifier.prepare(base64.b64decode(request["image"]))

    def batch(self, inputs):
        return inputs

    def predict(self, inputs):
        return self.classifier.run(inputs if BATCH > 1 else [inputs])

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return {"label": output if BATCH > 1 else output[0]}


if __name__ == "__main__":
    api = Digits(max_batch_size=BATCH, batch_timeout=0.001 if BATCH > 1 else 0.0)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=2, fast_queue=True)
    server.run(host="127.0.0.1", port=PORT, num_api_servers=2, log_level="warning", generate_client_file=False, access_log=False)
