"""compare.py TRITON_HTTP TRITON_GRPC KILN IMAGES: sends the same requests to Triton and to kiln's server, over HTTP and gRPC, and
prints as Markdown where statuses or good answers differ, and why. Fails if they differ where DIFFERENCES does not say so, or do not
where it does.
"""

import gzip
import http.client
import json
import math
import pathlib
import sys

import grpc
import numpy
from google.protobuf import json_format
from PIL import Image
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc

TRITON, TRITON_GRPC, KILN, IMAGES = sys.argv[1:5]

# Why answers differ, and where.
DIFFERENCES = {
    "A request whose JSON cannot be read, or is not one of the protocol, is the client's mistake: 400, as in the protocol's description.": [
        "broken JSON", "no JSON", "an array", "an empty object", "JSON and more", "inputs are no array", "id is no string", "no name",
        "no datatype", "no shape", "parameters are an array", "shape below zero", "shape is text", "too few elements",
        "too many elements", "elements are text", "elements are booleans", "elements are null", "elements of many kinds",
        "data is a number", "classification below zero", "binary, header too short", "binary, size no number",
        "binary, size below zero"],
    "What is null is left out.": ["parameters are null", "outputs are null", "id is null"],
    "Scores of infinite values are no scores, and NaN is no JSON.": [
        "1e39, beyond FP32", "NaN", "binary, NaN", "gRPC, NaN"],
    "A name that there is none of is told, by HTTP as 404, by gRPC as NOT_FOUND, as KServe does.": [
        "no such model, ready", "no such version, ready", "gRPC, no such model, ready", "gRPC, no such version, ready",
        "gRPC, version no number, ready", "gRPC, version no number, metadata", "gRPC, version no number, infer",
        "load, no such model", "unload, no such model", "gRPC, load, no such model", "gRPC, unload, no such model"],
    "Compressed bodies are refused.": ["gzip", "deflate of garbage", "an unknown encoding"],
    "Outputs come in the order and number that the request has.": ["two outputs in another order", "output twice", "gRPC, two outputs"],
    "The id comes back as it was sent.": ["with an empty id"],
    "gRPC: an answer has the form of its request, numbers in the tensors or beside them.": ["gRPC, contents"],
    "gRPC: raw contents that belong to no input are refused, contents of types that no model of images takes are not read.": [
        "gRPC, more raw than inputs", "gRPC, contents of two types"],
    "Triton's other extensions are not there.": ["configuration", "statistics", "gRPC, configuration", "gRPC, statistics"],
    "The protocol's description has this path.": ["metadata of the server, with a slash"],
    "PyTriton's model is in no repository.": ["repository index", "repository index, ready ones", "gRPC, repository index"],
}
REASONS = {case: reason for reason, cases in DIFFERENCES.items() for case in cases}

# One image for each of two classes, as the model takes it.
FILES = [sorted(pathlib.Path(IMAGES).glob(f"{digit}/*.png"))[0] for digit in (3, 8)]
PIXELS = numpy.stack([numpy.asarray(Image.open(file).convert("L"), numpy.float32)[None] * numpy.float32(1 / 255) for file in FILES])
ONE, TWO = PIXELS[:1], PIXELS
# What is a server's own.
OWN = {"extensions", "platform", "version"}


def tensor(array=ONE, **changes):
    found = {"name": "input", "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist(), **changes}
    return {key: value for key, value in found.items() if value is not None}


def request(*inputs, outputs=({"name": "logits"},), **others):
    body = {"inputs": list(inputs or [tensor()]), **others}
    if outputs is not None:
        body["outputs"] = list(outputs)
    return body


def binary(body, *raw, length=None):
    """A body with binary tensors behind its JSON, and the header that says so."""
    head = json.dumps(body).encode()
    return {"Inference-Header-Content-Length": str(len(head) if length is None else length)}, head + b"".join(raw)


def raw(array=ONE, size=None, **changes):
    data = array.tobytes()
    return tensor(array, data=None, parameters={"binary_data_size": len(data) if size is None else size}, **changes)


INFER = "/v2/models/digits/infer"


def http_cases():
    """Yields name, method, path, headers and body."""
    def get(name, path):
        return name, "GET", path, {}, b""

    def infer(name, body, path=INFER, **headers):
        return name, "POST", path, headers, body if isinstance(body, bytes) else json.dumps(body).encode()

    yield get("live", "/v2/health/live")
    yield get("ready", "/v2/health/ready")
    yield get("metadata of the server", "/v2")
    yield get("metadata of the server, with a slash", "/v2/")
    yield get("model is ready", "/v2/models/digits/ready")
    yield get("version is ready", "/v2/models/digits/versions/1/ready")
    yield get("metadata of a model", "/v2/models/digits")
    yield get("metadata of a version", "/v2/models/digits/versions/1")
    yield "repository index", "POST", "/v2/repository/index", {}, b""
    yield "repository index, ready ones", "POST", "/v2/repository/index", {}, b'{"ready": true}'
    # Good requests.
    yield infer("one image", request())
    yield infer("two images", request(tensor(TWO)))
    yield infer("by version", request(), "/v2/models/digits/versions/1/infer")
    yield infer("with an id", request(id="a-1"))
    yield infer("with an empty id", request(id=""))
    yield infer("nested arrays", request(tensor(data=ONE.tolist())))
    yield infer("two outputs in another order", request(outputs=[{"name": "probabilities"}, {"name": "logits"}]))
    yield infer("output twice", request(outputs=[{"name": "logits"}, {"name": "logits"}]))
    yield infer("parameters", request(parameters={"timeout": 10_000_000, "priority": 1, "anything": "x"}))
    yield infer("an unknown key", request(anything={"x": [1]}))
    yield infer("binary_data false", request(outputs=[{"name": "logits", "parameters": {"binary_data": False}}]))
    yield infer("three classes", request(tensor(TWO), outputs=[{"name": "logits", "parameters": {"classification": 3}}]))
    yield infer("more classes than there are", request(outputs=[{"name": "logits", "parameters": {"classification": 99}}]))
    headers, body = binary(request(raw()), ONE.tobytes())
    yield infer("binary in", body, **headers)
    headers, body = binary(request(raw(TWO), outputs=[{"name": "logits", "parameters": {"binary_data": True}}]), TWO.tobytes())
    yield infer("binary in and out", body, **headers)
    yield infer("binary out", request(outputs=[{"name": "logits", "parameters": {"binary_data": True}}]))
    yield infer("binary_data_output", request(outputs=None, parameters={"binary_data_output": True}))
    yield infer("gzip", gzip.compress(json.dumps(request()).encode()), **{"Content-Encoding": "gzip"})
    # Names.
    yield get("no such model, metadata", "/v2/models/x")
    yield get("no such model, ready", "/v2/models/x/ready")
    yield infer("no such model, infer", request(), "/v2/models/x/infer")
    yield get("no such version, metadata", "/v2/models/digits/versions/9")
    yield get("no such version, ready", "/v2/models/digits/versions/9/ready")
    yield infer("no such version, infer", request(), "/v2/models/digits/versions/9/infer")
    yield get("version no number, metadata", "/v2/models/digits/versions/x")
    yield infer("version no number, infer", request(), "/v2/models/digits/versions/x/infer")
    yield infer("no such input", request(tensor(name="x")))
    yield infer("no such output", request(outputs=[{"name": "x"}]))
    yield get("no such path", "/v2/x")
    yield get("no such path of a model", "/v2/models/digits/x")
    yield get("infer by GET", INFER)
    yield infer("metadata by POST", b"", "/v2/models/digits")
    yield infer("live by POST", b"", "/v2/health/live")
    yield infer("load, no such model", b"", "/v2/repository/models/x/load")
    yield infer("unload, no such model", b"", "/v2/repository/models/x/unload")
    yield get("configuration", "/v2/models/digits/config")
    yield get("statistics", "/v2/models/digits/stats")
    # Malformed bodies.
    yield infer("no body", b"")
    yield infer("broken JSON", b"{")
    yield infer("no JSON", b"\xff\xfe")
    yield infer("an array", b"[]")
    yield infer("an empty object", b"{}")
    yield infer("JSON and more", json.dumps(request()).encode() + b"x")
    yield infer("inputs are no array", b'{"inputs": 1}')
    yield infer("no inputs", {"inputs": []})
    yield infer("input twice", request(tensor(), tensor()))
    yield infer("id is no string", request(id=1))
    for key in ("name", "datatype", "shape", "data"):
        yield infer(f"no {key}", request(tensor(**{key: None})))
    yield infer("datatype unknown", request(tensor(datatype="X")))
    yield infer("datatype FP64", request(tensor(datatype="FP64")))
    yield infer("datatype INT64", request(tensor(datatype="INT64", data=[0] * 784)))
    yield infer("datatype UINT8", request(tensor(datatype="UINT8", data=[0] * 784)))
    yield infer("shape without the number of images", request(tensor(shape=[1, 28, 28])))
    yield infer("shape of other order", request(tensor(shape=[1, 28, 28, 1])))
    yield infer("shape of no images", request(tensor(shape=[0, 1, 28, 28], data=[])))
    yield infer("shape below zero", request(tensor(shape=[-1, 1, 28, 28])))
    yield infer("shape beyond any memory", request(tensor(shape=[2**62, 2**62, 28, 28])))
    yield infer("shape is text", request(tensor(shape="x")))
    yield infer("shape is empty", request(tensor(shape=[])))
    yield infer("too few elements", request(tensor(data=[0.0] * 783)))
    yield infer("too many elements", request(tensor(data=[0.0] * 785)))
    yield infer("elements are text", request(tensor(data=["a"] * 784)))
    yield infer("elements are booleans", request(tensor(data=[True] * 784)))
    yield infer("elements are null", request(tensor(data=[None] * 784)))
    yield infer("elements are integers", request(tensor(data=[0] * 784)))
    yield infer("elements of many kinds", request(tensor(data=[0.0] * 783 + ["a"])))
    yield infer("data is a number", request(tensor(data=1)))
    yield infer("1e39, beyond FP32", request(tensor(data=[1e39] * 784)))
    yield infer("NaN", json.dumps(request(tensor(data=[math.nan] * 784))).encode())
    yield infer("too many images", request(tensor(numpy.zeros((129, 1, 28, 28), numpy.float32))))
    yield infer("classification below zero", request(outputs=[{"name": "logits", "parameters": {"classification": -1}}]))
    yield infer("outputs are empty", request(outputs=[]))
    for key in ("parameters", "outputs", "id"):
        yield infer(f"{key} are null" if key != "id" else "id is null", {**request(), key: None})
    yield infer("parameters are an array", request(parameters=[]))
    yield infer("parameters of an input are null", {"inputs": [{**tensor(), "parameters": None}], "outputs": [{"name": "logits"}]})
    # Binary tensors.
    body = ONE.tobytes()
    for name, sent in {
        "binary, header beyond the body": binary(request(raw()), body, length=99999),
        "binary, header below zero": binary(request(raw()), body, length=-1),
        "binary, header no number": binary(request(raw()), body, length="x"),
        "binary, header too short": binary(request(raw()), body, length=10),
        "binary, no header": ({}, binary(request(raw()), body)[1]),
        "binary, size beyond the body": binary(request(raw(size=4000)), body),
        "binary, size too small": binary(request(raw(size=4)), body),
        "binary, size no number": binary(request(raw(size="x")), body),
        "binary, size below zero": binary(request(raw(size=-1)), body),
        "binary, bytes too few": binary(request(raw()), body[:-1]),
        "binary, bytes behind": binary(request(raw()), body, b"more"),
        "binary, without JSON": ({"Inference-Header-Content-Length": "0"}, body),
        "binary, without JSON, two images": ({"Inference-Header-Content-Length": "0"}, TWO.tobytes()),
        "binary, without JSON and bytes": ({"Inference-Header-Content-Length": "0"}, b""),
        "binary, data as well": binary(request(tensor(parameters={"binary_data_size": len(body)})), body),
    }.items():
        yield infer(name, sent[1], **sent[0])
    yield infer("binary, NaN", binary(request(raw()), numpy.full_like(ONE, math.nan).tobytes())[1],
                **binary(request(raw()))[0])
    yield infer("deflate of garbage", b"garbage", **{"Content-Encoding": "deflate"})
    yield infer("an unknown encoding", json.dumps(request()).encode(), **{"Content-Encoding": "x"})
    yield infer("another content type", json.dumps(request()).encode(), **{"Content-Type": "text/plain"})


def ask(address, method, path, headers, body):
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    return response.status, response.headers, answer


def read(headers, body):
    """An answer's JSON, with the elements of its binary tensors in the place of their sizes."""
    length = headers.get("Inference-Header-Content-Length")
    if length is None:
        return json.loads(body) if body else None
    found, rest = json.loads(body[: int(length)]), body[int(length):]
    for output in found["outputs"]:
        size = (output.get("parameters") or {}).pop("binary_data_size", None)
        if size is not None:
            output.pop("parameters")
            output["data"], rest = elements(output["datatype"], rest[:size]), rest[size:]
    return found


def elements(datatype, raw):
    """The elements of a binary tensor."""
    if datatype == "FP32":
        return numpy.frombuffer(raw, numpy.float32).tolist()
    found = []
    while raw:
        end = 4 + int.from_bytes(raw[:4], "little")
        found.append(raw[4:end].decode())
        raw = raw[end:]
    return found


def alike(one, other, path=""):
    """What differs between two answers; numbers differ where other kernels do not explain it."""
    if isinstance(one, float) or isinstance(other, float):
        return [] if math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-4) else [f"{path}: {one} and {other}"]
    if isinstance(one, str) and isinstance(other, str) and ":" in one and ":" in other:
        # score:index, and the label where the server knows it.
        first, second = one.split(":"), other.split(":")
        return alike(float(first[0]), float(second[0]), path) + alike(first[1], second[1], path)
    if isinstance(one, dict) and isinstance(other, dict):
        keys = (one.keys() | other.keys()) - OWN
        if one.get("name") == other.get("name") == "label":
            # [N, 1] of Triton, whose batches have a second axis.
            keys -= {"shape"}
        if "extensions" in one:
            keys -= {"name"}
        return [line for key in sorted(keys) for line in alike(one.get(key), other.get(key), f"{path}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [line for at, pair in enumerate(zip(one, other)) for line in alike(*pair, f"{path}[{at}]")]
    return [] if one == other else [f"{path}: {json.dumps(one)[:60]} and {json.dumps(other)[:60]}"]


def message(body):
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")


def grpc_tensor(array=ONE, name="input", datatype="FP32", shape=None, contents=None):
    found = messages.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=array.shape if shape is None else shape)
    for kind, values in (contents or {}).items():
        getattr(found.contents, kind).extend(values)
    return found


def grpc_request(*inputs, raw=None, outputs=("logits",), model="digits", **others):
    found = messages.ModelInferRequest(model_name=model, **others)
    found.inputs.extend(inputs or [grpc_tensor()])
    for output in outputs:
        found.outputs.append(messages.ModelInferRequest.InferRequestedOutputTensor(name=output))
    found.raw_input_contents.extend([ONE.tobytes()] if raw is None else raw)
    return found


def grpc_cases():
    """Yields name, method and message."""
    yield "live", "ServerLive", messages.ServerLiveRequest()
    yield "ready", "ServerReady", messages.ServerReadyRequest()
    yield "metadata of the server", "ServerMetadata", messages.ServerMetadataRequest()
    yield "repository index", "RepositoryIndex", messages.RepositoryIndexRequest()
    for name, model, version in [("model", "digits", ""), ("version", "digits", "1"), ("no such model", "x", ""),
                                 ("no such version", "digits", "9"), ("version no number", "digits", "x")]:
        yield f"{name}, ready", "ModelReady", messages.ModelReadyRequest(name=model, version=version)
        yield f"{name}, metadata", "ModelMetadata", messages.ModelMetadataRequest(name=model, version=version)
        yield f"{name}, infer", "ModelInfer", grpc_request(model=model, model_version=version)
    yield "load, no such model", "RepositoryModelLoad", messages.RepositoryModelLoadRequest(model_name="x")
    yield "unload, no such model", "RepositoryModelUnload", messages.RepositoryModelUnloadRequest(model_name="x")
    yield "configuration", "ModelConfig", messages.ModelConfigRequest(name="digits")
    yield "statistics", "ModelStatistics", messages.ModelStatisticsRequest(name="digits")

    def infer(name, message):
        return name, "ModelInfer", message

    yield infer("two images", grpc_request(grpc_tensor(TWO), raw=[TWO.tobytes()]))
    yield infer("with an id", grpc_request(id="a-1"))
    values = {"fp32_contents": ONE.ravel().tolist()}
    yield infer("contents", grpc_request(grpc_tensor(contents=values), raw=[]))
    yield infer("two outputs", grpc_request(outputs=["probabilities", "logits"]))
    classes = grpc_request()
    classes.outputs[0].parameters["classification"].int64_param = 3
    yield infer("three classes", classes)
    timeout = grpc_request()
    timeout.parameters["timeout"].int64_param = 10_000_000
    yield infer("timeout", timeout)
    yield infer("no such input", grpc_request(grpc_tensor(name="x")))
    yield infer("no such output", grpc_request(outputs=["x"]))
    yield infer("no inputs", messages.ModelInferRequest(model_name="digits"))
    yield infer("input twice", grpc_request(grpc_tensor(), grpc_tensor(), raw=[ONE.tobytes()] * 2))
    yield infer("datatype unknown", grpc_request(grpc_tensor(datatype="X")))
    yield infer("datatype FP64", grpc_request(grpc_tensor(datatype="FP64"), raw=[ONE.astype(numpy.float64).tobytes()]))
    yield infer("datatype empty", grpc_request(grpc_tensor(datatype="")))
    yield infer("shape without the number of images", grpc_request(grpc_tensor(shape=[1, 28, 28])))
    yield infer("shape of other order", grpc_request(grpc_tensor(shape=[1, 28, 28, 1])))
    yield infer("shape of no images", grpc_request(grpc_tensor(shape=[0, 1, 28, 28]), raw=[b""]))
    yield infer("shape below zero", grpc_request(grpc_tensor(shape=[-1, 1, 28, 28])))
    yield infer("shape beyond any memory", grpc_request(grpc_tensor(shape=[2**62, 2**62, 28, 28])))
    yield infer("shape is empty", grpc_request(grpc_tensor(shape=[])))
    yield infer("raw bytes too few", grpc_request(raw=[ONE.tobytes()[:-1]]))
    yield infer("raw bytes too many", grpc_request(raw=[ONE.tobytes() + b"x"]))
    yield infer("neither raw nor contents", grpc_request(raw=[]))
    yield infer("more raw than inputs", grpc_request(raw=[ONE.tobytes()] * 2))
    yield infer("raw and contents", grpc_request(grpc_tensor(contents=values)))
    yield infer("contents of another type", grpc_request(grpc_tensor(contents={"int64_contents": [0] * 784}), raw=[]))
    yield infer("contents too few", grpc_request(grpc_tensor(contents={"fp32_contents": [0.0] * 783}), raw=[]))
    yield infer("contents of two types", grpc_request(grpc_tensor(contents={**values, "int_contents": [0] * 784}), raw=[]))
    yield infer("NaN", grpc_request(raw=[numpy.full_like(ONE, math.nan).tobytes()]))
    yield infer("too many images", grpc_request(grpc_tensor(numpy.zeros((129, 1, 28, 28))),
                                                raw=[bytes(4 * 129 * 784)]))


def call(stub, method, message):
    """Returns code, details and the answer as a dictionary."""
    try:
        answer = getattr(stub, method)(message, timeout=30)
    except grpc.RpcError as error:
        return error.code().name, error.details(), None
    found = json_format.MessageToDict(answer, preserving_proto_field_name=True)
    if isinstance(answer, messages.ModelInferResponse):
        found.pop("raw_output_contents", None)
        found["are_raw"] = len(answer.raw_output_contents) > 0
        for at, output in enumerate(answer.outputs):
            found["outputs"][at].pop("contents", None)
            found["outputs"][at]["data"] = (elements(output.datatype, answer.raw_output_contents[at]) if found["are_raw"]
                                            else list(output.contents.fp32_contents))
    return "OK", "", found


def main():
    rows, wrong, count = [], [], 0

    def compare(name, one, other, differing):
        """Notes what two servers make of a request, each a status and a message, and what differs between good answers."""
        nonlocal count
        count += 1
        reason = REASONS.pop(name, None)
        if one[0] == other[0] and not differing:
            if reason is not None:
                wrong.append(f"{name}: does not differ, but is said to")
            return
        if reason is None:
            wrong.append(f"{name}: {one} and {other}: {'; '.join(differing)}")
        rows.append((name, one, other, differing, reason))

    for name, *asked in http_cases():
        (status, headers, body), (other_status, other_headers, other_body) = (ask(address, *asked) for address in (TRITON, KILN))
        differing = []
        if status == other_status == 200:
            # Triton has nothing to say of health but the status.
            differing = alike(read(headers, body), read(other_headers, other_body)) if body else []
        elif other_status >= 400 and set(json.loads(other_body)) != {"error"}:
            differing = [f"an error of another form: {other_body}"]
        compare(name, (status, message(body)), (other_status, message(other_body)), differing)
    stubs = [service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(address)) for address in (TRITON_GRPC, KILN)]
    for name, method, sent in grpc_cases():
        (code, details, found), (other_code, other_details, other_found) = (call(stub, method, sent) for stub in stubs)
        differing = alike(found, other_found) if code == other_code == "OK" else []
        compare(f"gRPC, {name}", (code, details), (other_code, other_details), differing)

    def shown(answer, differing):
        status, text = answer
        text = "" if differing or not text or status in (200, "OK") else f": {text[:100]}"
        return f"{status}{text}".replace("|", "\\|").replace("\n", " ")

    for reason in DIFFERENCES:
        print(f"{reason}\n\n| request | Triton | kiln |\n| --- | --- | --- |")
        for name, one, other, differing, why in rows:
            if why == reason:
                print(f"| {name} | {shown(one, differing)} | {shown(other, differing)} |")
        print()
    wrong += [f"{name}: not asked, but said to differ" for name in REASONS]
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{count} requests, {len(rows)} answered differently, each for a reason above")


main()
