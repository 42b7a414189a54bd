"""Serves a model with kiln on each engine and with other servers, in turns, on this machine, and prints requests/s and latencies as
Markdown. JPEG goes in, a label comes out. The load comes from wrk, on the same cores, with requests that were made before. The CPU
time that a server takes for a request, all of its processes together, varies least where others use the machine too.

usage: bench.py SERVER MODEL KIND IMAGES [--kiln FILE] [--ort-lib FILE] [--only NAME,NAME] [--rounds N] [--seconds N]
                [--connections N,N] [--check]
"""

import argparse
import base64
import contextlib
import io
import json
import os
import pathlib
import re
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from classifier import MAX_BATCH, Classifier
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
PORT = 18765
IMAGES = 64
# All connections send all requests, one after the other.
LUA = """
local files, requests, at = {%s}, {}, 0
for i, name in ipairs(files) do
    local file = io.open(name, "rb")
    requests[i] = file:read("*a")
    file:close()
end
function request()
    at = at %% #requests + 1
    return requests[at]
end
function done(summary, latency)
    local errors = summary.errors
    print(string.format("RESULT %%f %%f %%f %%d %%d", summary.requests / summary.duration * 1e6, latency:percentile(50) / 1000,
        latency:percentile(99) / 1000, summary.requests, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


class Plain:
    """An image as the body."""

    path, headers = "/predict", {}

    @staticmethod
    def body(file):
        return file

    @staticmethod
    def label(answer):
        return answer["label"]


class Kiln(Plain):
    path, headers = "/predict?top=1", {"Content-Type": "image/jpeg"}

    @staticmethod
    def label(answer):
        # By number, as the others: a model may have names for its classes.
        return str(answer["predictions"][0]["index"])


class Json(Plain):
    headers = {"Content-Type": "application/json"}

    @staticmethod
    def body(file):
        return json.dumps({"image": base64.b64encode(file).decode()}).encode()


class V2(Json):
    """The Open Inference Protocol, images as base64."""

    path = "/v2/models/model/infer"

    @staticmethod
    def body(file):
        tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": [base64.b64encode(file).decode()]}
        return json.dumps({"inputs": [tensor], "outputs": [{"name": "label"}]}).encode()

    @staticmethod
    def label(answer):
        return answer["outputs"][0]["data"][0]


class Binary(V2):
    """The same with Triton's binary tensors."""

    @staticmethod
    def head(size):
        tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": size}}
        return json.dumps({"inputs": [tensor], "outputs": [{"name": "label", "parameters": {"binary_data": False}}]}).encode()

    @classmethod
    def body(cls, file):
        return cls.head(len(file) + 4) + len(file).to_bytes(4, "little") + file

    @classmethod
    def length(cls, file):
        return {"Inference-Header-Content-Length": str(len(cls.head(len(file) + 4)))}


def fields(protocol, file):
    length = protocol.length(file) if hasattr(protocol, "length") else {}
    return {**protocol.headers, **length}


def raw(protocol, file):
    """A whole request, as it goes over the connection."""
    body = protocol.body(file)
    headers = {"Host": f"127.0.0.1:{PORT}", "Content-Length": len(body), **fields(protocol, file)}
    lines = [f"POST {protocol.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def ask(protocol, file):
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{protocol.path}", protocol.body(file), fields(protocol, file))
    with urllib.request.urlopen(request, timeout=30) as answer:
        return protocol.label(json.load(answer))


def cpu(session):
    """Returns the CPU time in seconds that the processes of a session have taken."""
    ticks = 0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            values = stat.read_text().rsplit(")", 1)[1].split()
            if int(values[3]) == session:
                ticks += int(values[11]) + int(values[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def serving(name, command, environment, protocol, file):
    """A server that answers, in a session of its own; it ends with this."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env={**os.environ, **environment}, cwd=HERE, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            deadline = time.monotonic() + 180
            while True:
                try:
                    ask(protocol, file)
                    break
                except (OSError, ValueError) as error:
                    reason = error
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    sys.exit(f"{name} does not answer: {reason}\n{log.read().decode(errors='replace')[-3000:]}")
                time.sleep(0.2)
            yield process.pid
        finally:
            end(process)


def end(process):
    """Ends a session; workers that their parent leaves behind too, before the next server takes the port."""
    os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rsplit(")", 1)[1].split()[3]) == process.pid:
                os.kill(int(stat.parent.name), signal.SIGKILL)
    process.wait()
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT), timeout=1):
            time.sleep(0.1)
            continue
        return
    sys.exit("a server still has the port")


def load(session, script, connections, seconds):
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--timeout", "30s",
               "--script", script, f"http://127.0.0.1:{PORT}"]
    before, children, start = cpu(session), resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    took, after, used = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN), cpu(session) - before
    client = (after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime) / took
    rate, half, most, requests, errors = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+) (\d+)", output).groups()
    if int(errors):
        sys.exit(f"{errors} requests failed:\n{output}")
    return float(rate), float(half), float(most), used * 1000 / float(requests), client * 100


def servers(arguments, folder):
    """Each server's name, command, environment and protocol."""
    python, other = sys.executable, HERE.parents[1] / "target"
    common = {"MODEL": str(arguments.model.resolve()), "KIND": arguments.kind, "THREADS": "1", "PYTHONPATH": str(HERE)}
    both = {**common, "THREADS": "2"}
    kiln = [arguments.server.resolve(), arguments.model.resolve(), "--port", str(PORT), "--log-level", "warn"]
    ort = {"KILN_ORT_LIB": str(arguments.ort_lib)} if arguments.ort_lib else {}
    fastapi = [python, "-m", "uvicorn", "fastapi_app:app", "--workers", "2", "--port", str(PORT), "--log-level", "warning",
               "--no-access-log"]
    litserve = [python, HERE / "litserve_app.py", str(PORT)]
    pytriton = [other / "bench-serve-pytriton-venv/bin/python", HERE / "pytriton_app.py", str(PORT)]
    # Another Python's library would be found first.
    triton = {**common, "LD_LIBRARY_PATH": ""}
    (folder / "model-settings.json").write_text(json.dumps({
        "name": "model", "implementation": "mlserver_app.Runtime", "max_batch_size": MAX_BATCH, "max_batch_time": 0.001}))
    mlserver = [other / "bench-serve-mlserver-venv/bin/mlserver", "start", folder]
    settings = {"MLSERVER_HOST": "127.0.0.1", "MLSERVER_HTTP_PORT": str(PORT), "MLSERVER_GRPC_PORT": str(PORT + 1),
                "MLSERVER_METRICS_PORT": str(PORT + 2), "MLSERVER_DEBUG": "false", "MLSERVER_GZIP_ENABLED": "false",
                "MLSERVER_METRICS_DIR": str(folder), "MLSERVER_ENVIRONMENTS_DIR": str(folder)}
    found = {
        "kiln serve, tract": (kiln, {}, Kiln),
        "kiln serve, ONNX Runtime": ([*kiln, "--engine", "ort"], ort, Kiln),
        "FastAPI, 2 workers, 1 thread each": (fastapi, common, Plain),
        "FastAPI, 2 workers, 2 threads each": (fastapi, both, Plain),
        f"LitServe, 2 workers, batches of {MAX_BATCH}": ([*litserve, str(MAX_BATCH)], common, Json),
        "LitServe, 2 workers, no batches": ([*litserve, "1"], common, Json),
        f"PyTriton, 2 instances, batches of {MAX_BATCH}": ([*pytriton, "2"], triton, Binary),
        f"PyTriton, 1 instance, 2 threads, batches of {MAX_BATCH}": ([*pytriton, "1"], {**triton, "THREADS": "2"}, Binary),
        f"MLServer, 2 workers, batches of {MAX_BATCH}": (mlserver, {**common, **settings, "MLSERVER_PARALLEL_WORKERS": "2"}, V2),
        f"MLServer, in one process, 2 threads, batches of {MAX_BATCH}": (mlserver, {**both, **settings, "MLSERVER_PARALLEL_WORKERS": "0"}, V2),
    }
    words = [word.lower() for word in arguments.only.split(",")] if arguments.only else [""]
    return {name: server for name, server in found.items() if any(word in name.lower() for word in words)}


def jpegs(folder):
    """Image files as JPEG, those that are not encoded so."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".png", ".jpg", ".jpeg"))
    # Of all classes.
    files = files[:: max(1, len(files) // IMAGES)][:IMAGES]
    found = []
    for file in files:
        if file.suffix == ".png":
            with io.BytesIO() as encoded:
                Image.open(file).save(encoded, "JPEG", quality=95)
                found.append(encoded.getvalue())
        else:
            found.append(file.read_bytes())
    return found


def floor(arguments):
    """The engines alone, without images or a network, by as many callers as connections."""
    for connections in arguments.connections.split(","):
        command = [arguments.kiln, "bench", arguments.model, "--batch-size", "1", "--callers", connections, "--duration",
                   str(arguments.seconds), *(["--ort-lib", arguments.ort_lib] if arguments.ort_lib else [])]
        print(f"\n`kiln bench --batch-size 1 --callers {connections}`:\n\n```text")
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() + "\n```")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("server", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("kind", choices=["digit", "photograph"])
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("--kiln", type=pathlib.Path, help="the command line, for figures of the engines alone")
    parser.add_argument("--ort-lib", type=pathlib.Path)
    parser.add_argument("--only", help="words of names, separated by commas: kiln, fastapi, litserve, pytriton, mlserver")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", default="1,8,32")
    parser.add_argument("--check", action="store_true", help="compare the labels, and measure nothing")
    arguments = parser.parse_args()
    files = jpegs(arguments.images)
    os.environ.update(MODEL=str(arguments.model), KIND=arguments.kind, THREADS="1")
    labels = Classifier().classify(files)
    if len(set(labels)) < 2:
        sys.exit("all images have the same label: a mistake would not be seen")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        chosen = servers(arguments, folder)
        scripts = {}
        for name, (*_, protocol) in chosen.items():
            kind = folder / protocol.__name__
            kind.mkdir(exist_ok=True)
            for at, file in enumerate(files):
                (kind / str(at)).write_bytes(raw(protocol, file))
            scripts[name] = str(kind / "wrk.lua")
            pathlib.Path(scripts[name]).write_text(LUA % ", ".join(f'"{kind / str(at)}"' for at in range(len(files))))
        for round in range(arguments.rounds):
            for name, (command, environment, protocol) in chosen.items():
                with serving(name, command, environment, protocol, files[0]) as session:
                    if round == 0:
                        other = [at for at, file in enumerate(files) if ask(protocol, file) != labels[at]]
                        if other:
                            sys.exit(f"{name} has other labels for {len(other)} of {len(files)} images")
                    if arguments.check:
                        print(f"{name}: the labels of {len(files)} images are those of onnxruntime and Pillow", flush=True)
                        continue
                    load(session, scripts[name], 8, 1)
                    for connections in map(int, arguments.connections.split(",")):
                        result = load(session, scripts[name], connections, arguments.seconds)
                        found.setdefault((name, connections), []).append(result)
            if arguments.check:
                return
    print("| server | connections | requests/s | p50, ms | p99, ms | CPU, ms a request | wrk, % of a core |\n"
          "| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for (name, connections), results in sorted(found.items(), key=lambda item: (item[0][1], list(chosen).index(item[0][0]))):
        rate, half, most, used, client = (statistics.median(values) for values in zip(*results))
        rates = ", ".join(f"{result[0]:,.0f}" for result in results)
        print(f"| {name} | {connections} | {rate:,.0f} ({rates}) | {half:.2f} | {most:.2f} | {used:.3f} | {client:.0f} |")
    compared(found)
    if arguments.kiln:
        floor(arguments)


def compared(found):
    """kiln's better engine beside the best of the others, at each number of connections."""
    for connections in sorted({connections for _, connections in found}):
        rates, lasts = ({name: statistics.median(result[at] for result in results) for (name, at_once), results in found.items()
                         if at_once == connections} for at in (0, 2))
        kiln = [name for name in rates if name.startswith("kiln")]
        others = [name for name in rates if not name.startswith("kiln")]
        if not kiln or not others:
            return
        ours, best = max(kiln, key=rates.get), max(others, key=rates.get)
        quickest = min(others, key=lasts.get)
        print(f"\nAt {connections}: {rates[ours] / rates[best]:.2f} times the requests of the best of the others ({best}); p99 "
              f"{lasts[ours]:.2f} ms, of the others {lasts[quickest]:.2f} ms at best ({quickest}).")


main()
