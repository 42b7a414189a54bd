"""A proxy before an S3 server that counts and disturbs, and a web server of files by signed URLs."""

import http.client
import pathlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Proxy(ThreadingHTTPServer):
    """Passes GET requests on to `upstream`; those below `/web/` it answers itself, from `folder`, if their query is `signature`."""

    daemon_threads = True

    def __init__(self, upstream: str, folder: pathlib.Path, signature: str):
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream, self.folder, self.signature = upstream, folder, signature
        self.lock = threading.Lock()
        self.reset()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def reset(self, faults: bool = False, latency: float = 0.0, other_after: int | None = None) -> None:
        """Counts anew. With `faults` every second request fails; `other_after` so many requests, objects have another tag."""
        with self.lock:
            self.requests = self.bytes = self.faulty = 0
            self.faults, self.latency, self.other_after = faults, latency, other_after

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address) -> None:
        """Clients that hang up are no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        proxy = self.server
        with proxy.lock:
            number = proxy.requests
            proxy.requests += 1
            fault = number // 2 % 3 if proxy.faults and number % 2 == 0 else None
            proxy.faulty += fault is not None
        time.sleep(proxy.latency)
        if fault == 0:
            self.reply(503, {}, b"<Error><Code>SlowDown</Code></Error>")
            return
        if self.path.startswith("/web/"):
            status, headers, body = self.file()
        else:
            status, headers, body = self.passed_on()
        if proxy.other_after is not None and number >= proxy.other_after and "ETag" in headers:
            headers["ETag"] = '"another"'
        if fault == 1:
            # Hangs up in the middle.
            self.reply(status, headers, body, len(body) // 2)
            self.close_connection = True
            return
        if fault == 2:
            self.close_connection = True
            return
        self.reply(status, headers, body)

    def passed_on(self) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        connection.putrequest("GET", self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        kept = ("content-range", "etag", "content-type")
        return response.status, {name: value for name, value in response.getheaders() if name.lower() in kept}, response.read()

    def file(self) -> tuple[int, dict[str, str], bytes]:
        path, _, query = self.path.partition("?")
        if query != self.server.signature:
            return 403, {}, b"no"
        content = (self.server.folder / path.removeprefix("/web/")).read_bytes()
        first, last = (int(part) for part in self.headers["Range"].removeprefix("bytes=").split("-"))
        last = min(last, len(content) - 1)
        return 206, {"Content-Range": f"bytes {first}-{last}/{len(content)}"}, content[first : last + 1]

    def reply(self, status: int, headers: dict[str, str], body: bytes, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body[:cut]
        with self.server.lock:
            self.server.bytes += len(sent)
        self.wfile.write(sent)
