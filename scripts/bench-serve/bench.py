"""Serves a model with kiln on each engine and with FastAPI, in turns, on this machine, and prints requests/s and latencies as
Markdown. The load comes from wrk, on the same cores. The CPU time that a server takes for a request, all of its processes together,
varies least where others use the machine too.

usage: bench.py SERVER MODEL KIND IMAGES [--ort-lib FILE] [--rounds N] [--seconds N] [--connections N,N]
"""

import argparse
import contextlib
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).parent
PORT = 18765
# Every connection sends all images, one after the other, from a place of its own.
LUA = """
local files, bodies = {%s}, {}
for i, name in ipairs(files) do
    local file = io.open(name, "rb")
    bodies[i] = file:read("*a")
    file:close()
end
local at, threads = 0, 0
function setup(thread) thread:set("at", threads * 7); threads = threads + 1 end
function request()
    at = at %% #bodies + 1
    return wrk.format("POST", "/predict", {["Content-Type"] = "image/*"}, bodies[at])
end
function done(summary, latency)
    local errors = summary.errors
    print(string.format("RESULT %%f %%f %%f %%d %%d", summary.requests / summary.duration * 1e6, latency:percentile(50) / 1000,
        latency:percentile(99) / 1000, summary.requests, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


def cpu(session):
    """Returns the CPU time in seconds that the processes of a session have taken."""
    ticks = 0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if int(fields[3]) == session:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def serving(command, environment):
    process = subprocess.Popen(command, env={**os.environ, **environment}, cwd=HERE, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait(name, body):
    for _ in range(300):
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{PORT}/predict", body, {"Content-Type": "image/*"})
            return urllib.request.urlopen(request, timeout=30).read()
        except OSError as error:
            reason = error
        time.sleep(0.1)
    sys.exit(f"{name} does not answer: {reason}")


def load(session, script, connections, seconds):
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--timeout", "30s",
               "--script", script, f"http://127.0.0.1:{PORT}"]
    before = cpu(session)
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = cpu(session) - before
    rate, half, most, requests, errors = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+) (\d+)", output).groups()
    if int(errors):
        sys.exit(f"{errors} requests failed:\n{output}")
    return float(rate), float(half), float(most), used * 1000 / float(requests)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("server", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("kind", choices=["digit", "photograph"])
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("--ort-lib", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", default="1,8,32")
    arguments = parser.parse_args()
    files = sorted(file for file in arguments.images.rglob("*") if file.suffix in (".png", ".jpg", ".jpeg"))[:64]
    body = files[0].read_bytes()
    kiln = [arguments.server.resolve(), arguments.model.resolve(), "--port", str(PORT), "--log-level", "warn"]
    fastapi = [sys.executable, "-m", "uvicorn", "app:app", "--workers", "2", "--port", str(PORT), "--log-level", "warning",
               "--no-access-log"]
    of_app = {"MODEL": str(arguments.model.resolve()), "KIND": arguments.kind}
    ort = {"KILN_ORT_LIB": str(arguments.ort_lib)} if arguments.ort_lib else {}
    servers = {
        "kiln serve, tract": (kiln, {}),
        "kiln serve, ONNX Runtime": ([*kiln, "--engine", "ort"], ort),
        "FastAPI, 2 workers, 1 thread each": (fastapi, {**of_app, "THREADS": "1"}),
        "FastAPI, 2 workers, 2 threads each": (fastapi, {**of_app, "THREADS": "2"}),
    }
    found = {}
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % ", ".join(f'"{file.resolve()}"' for file in files))
        script.flush()
        for _ in range(arguments.rounds):
            for name, (command, environment) in servers.items():
                with serving(command, environment) as session:
                    wait(name, body)
                    load(session, script.name, 8, 1)
                    for connections in map(int, arguments.connections.split(",")):
                        result = load(session, script.name, connections, arguments.seconds)
                        found.setdefault((name, connections), []).append(result)
    print("| server | connections | requests/s | p50, ms | p99, ms | CPU, ms a request |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for (name, connections), results in sorted(found.items(), key=lambda item: (item[0][1], list(servers).index(item[0][0]))):
        rate, half, most, used = (statistics.median(values) for values in zip(*results))
        rates = ", ".join(f"{result[0]:,.0f}" for result in results)
        print(f"| {name} | {connections} | {rate:,.0f} ({rates}) | {half:.2f} | {most:.2f} | {used:.3f} |")


main()
