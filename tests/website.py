"""A local web server that imitates the hosts of studies, and fails on demand."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Request:
    """A request, and how many bytes of the body were sent in answer."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    sent: int = 0
    form: str = ""


@dataclass
class Answer:
    """A response: its body, status code and headers."""

    body: bytes = b""
    code: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Website:
    """Pages by path. A page is bytes, an Answer, or a function of the request.

    Attributes:
        cuts: for a path, after how many bytes the connection breaks, one entry per request that gets that far.
        busy: for a path, how many requests are first answered with 503.
        ranges: whether range requests are supported.
        lengths: whether Content-Length is sent.
        password: as "Basic ..."; requests without it get a 401.
        gate: until it is set, only the first half of each body is sent.
    """

    url: str = ""
    pages: dict[str, bytes | Answer | Callable[[Request], bytes | Answer]] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    busy: dict[str, int] = field(default_factory=dict)
    ranges: bool = True
    lengths: bool = True
    password: str = ""
    gate: threading.Event | None = None
    log: list[Request] = field(default_factory=list)

    def requests_for(self, path: str, method: str = "GET") -> list[Request]:
        return [request for request in self.log if request.path == path and request.method == method]

    def sent(self, path: str) -> int:
        """The bytes of all bodies sent for a path."""
        return sum(request.sent for request in self.requests_for(path))

    def answer(self, request: Request) -> Answer:
        if self.password and request.headers.get("Authorization") != self.password:
            return Answer(b"", 401, {"WWW-Authenticate": "Basic"})
        if self.busy.get(request.path, 0) > 0:
            self.busy[request.path] -= 1
            return Answer(b"", 503)
        page = self.pages.get(request.path)
        if callable(page):
            page = page(request)
        if page is None:
            return Answer(b"nothing here", 404)
        return page if isinstance(page, Answer) else Answer(page)

    def part(self, request: Request, answer: Answer) -> tuple[int, bytes, dict[str, str]]:
        """The status code, the requested part of the body, and the headers."""
        tag = f'"{hashlib.md5(answer.body).hexdigest()}"'
        headers = {"ETag": tag} | answer.headers
        requested = request.headers.get("Range", "")
        if not (self.ranges and requested and request.headers.get("If-Range", tag) == tag):
            return answer.code, answer.body, headers
        begin = int(requested.removeprefix("bytes=").rstrip("-"))
        if begin >= len(answer.body):
            return 416, b"", headers | {"Content-Range": f"bytes */{len(answer.body)}"}
        whole = len(answer.body)
        return 206, answer.body[begin:], headers | {"Content-Range": f"bytes {begin}-{whole - 1}/{whole}"}


@contextmanager
def serve() -> Iterator[Website]:
    """A website on a port of its own."""
    site = Website()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            request = Request(self.command, unquote(parts.path), unquote(parts.query), dict(self.headers))
            request.form = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            site.log.append(request)
            answer = site.answer(request)
            code, body, headers = (
                site.part(request, answer) if answer.code == 200 else (answer.code, answer.body, answer.headers)
            )
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            if site.lengths or self.command == "HEAD":
                self.send_header("Content-Length", str(len(body)))
            else:
                self.close_connection = True
            self.end_headers()
            if self.command == "HEAD":
                return
            cuts = site.cuts.get(request.path, [])
            limit = cuts.pop(0) if cuts and answer.code == 200 else len(body)
            self.send(request, body[:limit])
            if limit < len(body):
                self.close_connection = True
                self.connection.close()

        def send(self, request: Request, body: bytes) -> None:
            for at in range(0, len(body), 1 << 16):
                if site.gate and at >= len(body) // 2:
                    site.gate.wait(30)
                piece = body[at : at + (1 << 16)]
                self.wfile.write(piece)
                self.wfile.flush()
                request.sent += len(piece)

        do_GET = do_HEAD = do_POST = do_PROPFIND = handle_any

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that disconnects is not an error here."""

    server = Server(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield site
    finally:
        if site.gate:
            site.gate.set()
        server.shutdown()
        server.server_close()
