"""A real HTTP server on a free port that answers each request as its script says, and records what it got."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Action = Callable[[BaseHTTPRequestHandler], None]
"""Answers one request whose body has been read."""


@dataclass
class Received:
    """What one request had."""

    target: str
    headers: Mapping[str, str]
    """Names in small letters."""
    body: bytes


@dataclass
class ScriptedServer:
    """The server's address, its script, and the requests so far."""

    url: str
    script: list[Action]
    """The last one repeats."""
    received: list[Received] = field(default_factory=list)


def answering(status: int, body: Any = None, **headers: str) -> Action:
    """Answer with JSON, or with bytes as they are; `retry_after` is the header `Retry-After`."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.send_response(status)  # with `Date`
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("content-length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    return answer


def closing(request: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""
    request.close_connection = True
    request.connection.shutdown(socket.SHUT_RDWR)


def resetting(request: BaseHTTPRequestHandler) -> None:
    """Reset the connection (RST) without an answer."""
    request.close_connection = True
    # SO_LINGER with a time of 0 (socket(7)).
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()


def dripping(every_s: float, count: int, *, stop: threading.Event) -> Action:
    """Send an answer of `count` bytes one by one."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("content-length", str(count))
        request.end_headers()
        for _ in range(count):
            if stop.wait(every_s):
                break
            request.wfile.write(b" ")
            request.wfile.flush()
        request.close_connection = True

    return answer


@contextmanager
def scripted(*script: Action) -> Iterator[ScriptedServer]:
    """A running server with this script."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with lock:
                described.received.append(Received(self.path, headers, body))
                turn = min(len(described.received), len(described.script)) - 1
            try:
                described.script[turn](self)
            except OSError:  # the client has closed the connection
                self.close_connection = True

        do_GET = do_POST = do_DELETE = do_any  # noqa: N815 # the names that http.server calls

        def log_message(self, format: str, *args: Any) -> None:
            """Write nothing."""

    lock = threading.Lock()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        described = ScriptedServer(f"http://127.0.0.1:{server.server_port}", list(script))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield described
        finally:
            server.shutdown()
            thread.join()
