"""soak.py SERVER MODEL IMAGES MINUTES: a server with connections that never ask, then under load for so many minutes.

First 10,000 connections send nothing, half a head or half a body, while others are served. Then 64 threads send an image each,
all of them distinct, and each answer must be that of its own image, to the last bit. Every 15 s another version of the model takes
over. Memory is printed each minute and must stay flat. At the end comes SIGTERM in the middle of the load, and no request that was
accepted may be lost.
"""

import collections
import contextlib
import http.client
import json
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

SERVER, MODEL, IMAGES, MINUTES = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), float(sys.argv[4])
THREADS = 64
SWAP = 15
CONNECTIONS = 10_000
# How long the server waits for those, in seconds.
PATIENCE = 60
# How much memory may grow after the first minute, in MB.
GROWTH = 16


class Server:
    """A server process, ready."""

    def __init__(self, *arguments):
        command = [SERVER, *map(str, arguments), "--port", "0", "--log", "json"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            event = json.loads(line)
            if event["message"] == "listening":
                host, port = event["address"].rsplit(":", 1)
                self.address = host, int(port)
            if event["message"] == "ready":
                break
        else:
            sys.exit("the server does not start")
        # The log goes on, and must be read; what is not a request is kept.
        self.events = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stderr:
            if '"message":"request"' not in line:
                self.events.append(line)

    def status(self):
        """Resident memory and its most in MB, threads, and open files."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in text.splitlines())
        megabytes = [int(fields[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM")]
        return *megabytes, int(fields["Threads"]), len(list(pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60) != 0:
            sys.exit(f"the server ended with {self.process.returncode}")


def images():
    files = sorted(IMAGES.glob("*/*.png"), key=lambda file: file.name)[:THREADS]
    assert len(files) == THREADS
    return [file.read_bytes() for file in files]


def ask(connection, body):
    """The answer to an image: its model's version and the probabilities as the server wrote them."""
    connection.request("POST", "/predict?top=10", body)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise AssertionError(f"{response.status}: {answer.decode()}")
    found = json.loads(answer, parse_float=str)
    [prediction] = found["predictions"]
    return found["version"], [(it["label"], it["probability"]) for it in prediction["top"]]


def connections():
    bodies = images()
    # Longer than it takes to open them where others use the machine.
    server = Server(MODEL, "--max-connections", 2 * CONNECTIONS, "--idle-timeout", PATIENCE, "--body-timeout", PATIENCE)
    before = server.status()[0]
    kinds = [b"", b"POST /predict HT", b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf"]
    start = time.monotonic()
    opened = []
    for at in range(CONNECTIONS):
        stream = socket.create_connection(server.address)
        stream.sendall(kinds[at % 3])
        opened.append(stream)
    took = time.monotonic() - start
    times = []
    for at in range(500):
        begun = time.perf_counter()
        connection = http.client.HTTPConnection(*server.address, timeout=30)
        ask(connection, bodies[at % THREADS])
        connection.close()
        times.append((time.perf_counter() - begun) * 1e3)
    memory, _, threads, files = server.status()
    if files < CONNECTIONS:
        sys.exit(f"{files} open files: some of {CONNECTIONS} connections were closed before all were there")
    print(f"{CONNECTIONS} connections opened in {took:.1f} s: memory {before:.0f} to {memory:.0f} MB, {threads} threads; 500 requests "
          f"beside them took {statistics.median(times):.1f} ms in the median, {max(times):.1f} ms at most", flush=True)
    # The server closes all of them.
    for stream in opened:
        stream.settimeout(max(1.0, 3 * PATIENCE - (time.monotonic() - start)))
        with contextlib.suppress(ConnectionResetError):
            while stream.recv(4096):
                pass
        stream.close()
    print(f"all closed by the server {time.monotonic() - start:.0f} s after the first was opened; memory {server.status()[0]:.0f} MB",
          flush=True)
    server.end()


class Load:
    """Threads that send an image each, over and over."""

    def __init__(self, address, bodies, expected):
        self.address, self.expected = address, expected
        self.counts, self.versions, self.wrong = [0] * len(bodies), collections.Counter(), []
        self.refused, self.lost = 0, []
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(at, body)) for at, body in enumerate(bodies)]
        for thread in self.threads:
            thread.start()

    def _run(self, at, body):
        connection = None
        while not self.wrong:
            try:
                if connection is None or connection.sock is None or self.counts[at] % 50 == 0:
                    # A new connection now and then; http.client drops one that the server is about to close.
                    if connection is not None:
                        connection.close()
                    connection = http.client.HTTPConnection(*self.address, timeout=60)
                    connection.connect()
                version, found = ask(connection, body)
            except ConnectionRefusedError:
                if not self.ending.is_set():
                    self.wrong.append(f"image {at}: refused")
                self.refused += 1
                return
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(f"image {at}: {error!r}")
                connection = None
                if not self.ending.is_set():
                    self.wrong.append(self.lost[-1])
                continue
            except AssertionError as error:
                self.wrong.append(f"image {at}: {error}")
                return
            if found != self.expected[at]:
                self.wrong.append(f"image {at}: {found} instead of {self.expected[at]}")
                return
            self.counts[at] += 1
            self.versions[version] += 1


def soak():
    bodies = images()
    with tempfile.TemporaryDirectory() as folder:
        def put(version):
            # Made elsewhere and put into place at once, so that none is read half.
            made, place = pathlib.Path(folder, "made"), pathlib.Path(folder, "models", "digits", str(version))
            made.mkdir()
            shutil.copy(MODEL, made / "model.onnx")
            place.parent.mkdir(parents=True, exist_ok=True)
            made.rename(place)

        put(1)
        server = Server(pathlib.Path(folder, "models"))
        connection = http.client.HTTPConnection(*server.address)
        expected = [ask(connection, body)[1] for body in bodies]
        connection.close()
        if len({json.dumps(answer) for answer in expected}) < THREADS:
            sys.exit("two images have the same answer: a mistake would not be seen")
        load = Load(server.address, bodies, expected)
        start = time.monotonic()
        version, memories, last = 1, [], 0
        print("| minute | requests | requests/s | memory, MB | most, MB | threads | open files | versions so far |\n"
              "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
        minute = 0
        while not load.wrong and time.monotonic() - start < MINUTES * 60:
            time.sleep(SWAP)
            # Long after the last version was loaded, and before the next one is.
            if time.monotonic() - start >= 60 * (minute + 1):
                minute += 1
                memory, most, threads, files = server.status()
                memories.append(memory)
                done = sum(load.counts)
                print(f"| {minute} | {done:,} | {(done - last) / 60:,.0f} | {memory:.1f} | {most:.1f} | {threads} | {files} | "
                      f"{len(load.versions)} |", flush=True)
                last = done
            version += 1
            put(version)
            server.process.send_signal(signal.SIGHUP)
            if version > 3:
                shutil.rmtree(pathlib.Path(folder, "models", "digits", str(version - 3)))
        load.ending.set()
        server.end()
        for thread in load.threads:
            thread.join()
    if load.wrong:
        sys.exit("\n".join(load.wrong))
    slowest = min(load.counts)
    print(f"{sum(load.counts):,} requests, each with the bits of its own image, {slowest:,} or more by each of {THREADS} threads, of "
          f"{len(load.versions)} versions; after SIGTERM {load.refused} threads were refused, {len(load.lost)} connections ended "
          "without an answer")
    # The system may take a connection in the moment in which the program closes its queue, which has one place then.
    if len(load.lost) > 1:
        sys.exit("\n".join(load.lost))
    if len(load.versions) < min(version, 3):
        sys.exit(f"{version} versions were put in place, and {sorted(load.versions)} answered")
    if len(memories) > 2 and max(memories[1:]) > memories[0] + GROWTH:
        sys.exit(f"memory grew: {memories}")


connections()
soak()
