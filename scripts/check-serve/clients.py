"""clients.py ADDRESS IMAGES: asks a server through tritonclient, over HTTP and gRPC, and compares the answers bit for bit."""

import pathlib
import sys

import numpy
import tritonclient.grpc
import tritonclient.http
from PIL import Image
from tritonclient.utils import InferenceServerException

ADDRESS, IMAGES = sys.argv[1], pathlib.Path(sys.argv[2])


def check(condition, what):
    if not condition:
        sys.exit(f"failed: {what}")


def error(call, what, *expected):
    try:
        call()
    except InferenceServerException as raised:
        check(any(word in str(raised) for word in expected), f"{what}: {raised}")
        return
    sys.exit(f"failed: {what} is no error")


files = sorted(IMAGES.glob("*/*.png"))[:8]
encoded = numpy.array([file.read_bytes() for file in files], dtype=numpy.object_)
http, grpc = (module.InferenceServerClient(ADDRESS) for module in (tritonclient.http, tritonclient.grpc))
metadata = http.get_model_metadata("digits")
check(metadata["inputs"][0]["datatype"] == "FP32", "metadata")
name, scores = metadata["inputs"][0]["name"], metadata["outputs"][0]["name"]
found = grpc.get_model_metadata("digits", as_json=True)
check([tensor["name"] for tensor in found["outputs"]] == [tensor["name"] for tensor in metadata["outputs"]], "metadata by gRPC")
check([int(side) for side in found["inputs"][0]["shape"]] == metadata["inputs"][0]["shape"], "shape by gRPC")

# Pixels in [0, 1], as the model's preprocessing record has them.
pixels = numpy.stack([numpy.asarray(Image.open(file).convert("L"), numpy.float32)[None] * numpy.float32(1 / 255) for file in files])

answers = {}
for client, module in ((http, tritonclient.http), (grpc, tritonclient.grpc)):
    kind = module.__name__
    check(client.is_server_live() and client.is_server_ready(), f"{kind}: health")
    check(client.is_model_ready("digits") and client.is_model_ready("digits", "1"), f"{kind}: model")
    if module is tritonclient.http:
        check(not client.is_model_ready("x"), f"{kind}: no model is ready")
    server = client.get_server_metadata()
    check((server["name"] if isinstance(server, dict) else server.name) == "kiln", f"{kind}: server")

    def infer(array, datatype, outputs=None, binary=True, **options):
        tensor = module.InferInput(name, list(array.shape), datatype)
        if module is tritonclient.http:
            tensor.set_data_from_numpy(array, binary_data=binary)
            outputs = outputs and [module.InferRequestedOutput(o, binary_data=binary) for o in outputs]
        else:
            tensor.set_data_from_numpy(array)
            outputs = outputs and [module.InferRequestedOutput(o) for o in outputs]
        return client.infer("digits", [tensor], outputs=outputs, **options)

    result = infer(pixels, "FP32", request_id="id-7")
    response = result.get_response()
    check((response["id"] if isinstance(response, dict) else response.id) == "id-7", f"{kind}: id")
    answers[kind, "values"] = result.as_numpy(scores)
    answers[kind, "files"] = infer(encoded, "BYTES").as_numpy(scores)
    labels = [label.decode() for label in infer(encoded, "BYTES").as_numpy("label")]
    check(labels == [file.parent.name for file in files], f"{kind}: labels {labels}")
    answers[kind, "one output"] = infer(pixels, "FP32", [scores], model_version="1").as_numpy(scores)
    if module is tritonclient.http:
        answers[kind, "json"] = infer(pixels, "FP32", [scores], binary=False).as_numpy(scores)
    tensor = module.InferInput(name, list(pixels.shape), "FP32")
    tensor.set_data_from_numpy(pixels)
    top = client.infer("digits", [tensor], outputs=[module.InferRequestedOutput(scores, class_count=3)]).as_numpy(scores)
    check(top.shape == (len(files), 3), f"{kind}: classes {top.shape}")
    check(top[0, 0].decode().split(":")[2] == files[0].parent.name, f"{kind}: first class {top[0, 0]}")

    error(lambda: infer(pixels.reshape(len(files), 28, 28, 1), "FP32"), f"{kind}: shape", "expected [N, 1, 28, 28]")
    error(lambda: infer(pixels.astype(numpy.float64), "FP64"), f"{kind}: type", "FP64")
    error(lambda: infer(numpy.array([b"hello"], dtype=numpy.object_), "BYTES"), f"{kind}: image", "not an image")
    error(lambda: client.get_model_metadata("x"), f"{kind}: no model", "no model `x`")
    error(lambda: infer(pixels, "FP32", model_version="9"), f"{kind}: no version", "no version `9`")
    error(lambda: infer(pixels, "FP32", ["y"]), f"{kind}: no output", "no output `y`")

    index = client.get_model_repository_index()
    names = [entry["name"] for entry in index] if isinstance(index, list) else [entry.name for entry in index.models]
    check(names == ["digits", "second"], f"{kind}: index {names}")
    client.unload_model("second")
    error(lambda: client.get_model_metadata("second"), f"{kind}: unloaded", "unloaded")
    client.load_model("second")
    check(client.is_model_ready("second"), f"{kind}: loaded again")

first = answers["tritonclient.http", "values"]
check(first.shape == (len(files), 10), f"shape {first.shape}")
for key, answer in answers.items():
    check(answer.tobytes() == first.tobytes(), f"{key}: other bits")

# Many at a time, each its own image.
with_many = tritonclient.http.InferenceServerClient(ADDRESS, concurrency=16)
pending = []
for at in list(range(len(files))) * 25:
    tensor = tritonclient.http.InferInput(name, [1], "BYTES")
    tensor.set_data_from_numpy(encoded[at : at + 1])
    pending.append((at, with_many.async_infer("digits", [tensor])))
for at, request in pending:
    check(request.get_result().as_numpy(scores).tobytes() == first[at].tobytes(), f"image {at} among many")
print(f"tritonclient: {len(answers)} forms of {len(files)} images have the same bits, {len(pending)} concurrent requests too")
