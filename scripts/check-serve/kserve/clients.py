"""clients.py ADDRESS IMAGES: asks a server through KServe's clients, over HTTP (JSON and binary) and gRPC, and compares the answers bit
for bit."""

import asyncio
import pathlib
import sys

import grpc
import httpx
import numpy
from kserve import InferInput, InferRequest, InferenceGRPCClient, InferenceRESTClient, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from PIL import Image

ADDRESS, IMAGES = sys.argv[1], pathlib.Path(sys.argv[2])


def check(condition, what):
    if not condition:
        sys.exit(f"failed: {what}")


def request(name, array, datatype, binary, outputs=()):
    tensor = InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    wanted = [RequestedOutput(output, parameters={"binary_data": binary}) for output in outputs]
    return InferRequest(model_name="digits", infer_inputs=[tensor], request_id="id-7", request_outputs=wanted or None)


async def main():
    files = sorted(IMAGES.glob("*/*.png"))[:8]
    encoded = numpy.array([file.read_bytes() for file in files], dtype=numpy.object_)
    pixels = numpy.stack([numpy.asarray(Image.open(file).convert("L"), numpy.float32)[None] * numpy.float32(1 / 255) for file in files])
    base = f"http://{ADDRESS}"
    http, rpc = InferenceRESTClient(RESTConfig(protocol="v2")), InferenceGRPCClient(ADDRESS)
    check(await http.is_server_live(base) is True, "HTTP: live")
    check(await http.is_server_ready(base) is True, "HTTP: ready")
    check(await http.is_model_ready(base, "digits") is True, "HTTP: model")
    check(await http.is_model_ready(base, "x") is False, "HTTP: no model")
    check(await rpc.is_server_live() and await rpc.is_server_ready() and await rpc.is_model_ready("digits"), "gRPC: health")

    answers = {}
    asking = {"HTTP": lambda asked: http.infer(base, asked, model_name="digits"), "gRPC": rpc.infer}
    for protocol, infer in asking.items():
        for binary in (False, True):
            kind = f"{protocol}, {'binary' if binary else 'in the message'}"
            found = await infer(request("input", pixels, "FP32", binary, ["logits"]))
            check(found.id == "id-7" and found.model_name == "digits", f"{kind}: id")
            answers[kind] = {output.name: output.as_numpy() for output in found.outputs}["logits"].astype(numpy.float32)
        found = await infer(request("input", encoded, "BYTES", True))
        labels = {output.name: output.as_numpy() for output in found.outputs}["label"]
        labels = [label.decode() if isinstance(label, bytes) else label for label in labels.ravel()]
        check(labels == [file.parent.name for file in files], f"{protocol}: labels {labels}")
    first, *others = answers.values()
    check(first.shape == (len(files), 10), f"shape {first.shape}")
    for kind, answer in answers.items():
        check(answer.tobytes() == first.tobytes(), f"{kind}: other bits")

    try:
        await http.infer(base, request("x", pixels, "FP32", False), model_name="digits")
        sys.exit("failed: HTTP: a wrong input is no error")
    except httpx.HTTPStatusError as error:
        check(error.response.status_code == 400 and "no input `x`" in str(error), f"HTTP: {error}")
    try:
        await rpc.infer(request("x", pixels, "FP32", True))
        sys.exit("failed: gRPC: a wrong input is no error")
    except grpc.RpcError as error:
        check(error.code() == grpc.StatusCode.INVALID_ARGUMENT, f"gRPC: {error}")
    await http.close()
    await rpc.close()
    print(f"kserve: {len(answers)} forms of {len(files)} images have the same bits")


asyncio.run(main())
