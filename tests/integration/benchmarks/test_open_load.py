"""An open loop on a real server: what waits is counted, what is refused is lost."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.load import measure, post_request
from benchmarks.open_load import PATIENCE_S, Connections, OpenLoad, measure_open


class Server(ThreadingHTTPServer):
    """Answers one request after another, on any number of connections; may pause once."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, *, pause_at: int = -1, pause_s: float = 0.0, refuse_every: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.turn = threading.Lock()
        self.bodies: list[bytes] = []
        self.pause_at, self.pause_s, self.refuse_every = pause_at, pause_s, refuse_every
        self.clients: set[int] = set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        with self.server.turn:
            self.server.bodies.append(body)
            self.server.clients.add(self.client_address[1])
            number = len(self.server.bodies)
            if number == self.server.pause_at:
                time.sleep(self.server.pause_s)
        refused = self.server.refuse_every and number % self.server.refuse_every == 0
        self.send_response(503 if refused else 200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(server: Server) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/detect?faces=none"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def body(tmp_path: Path) -> Path:
    path = tmp_path / "body"
    path.write_bytes(b"picture")
    return path


def measured(url: str, body: Path, *, rate: float) -> OpenLoad:
    return measure_open(url, body, content_type="image/jpeg", arrivals="even", rate=rate, seconds=1.0, seed=1)


def test_requests_that_wait_behind_a_pause_count_from_when_they_were_due(body: Path) -> None:
    server = Server(pause_at=20, pause_s=0.4)
    with serving(server) as url:
        load = measured(url, body, rate=100)
    assert server.bodies == [b"picture"] * 100
    assert load.lost == 0
    assert len(load.latencies_ms) == len(load.late_ms) == 100
    # The 20th takes 400 ms; each later one is due 10 ms later and waits 10 ms less: 35 wait more than 50 ms.
    # A closed loop of one client would count one slow request.
    waited = [latency for latency in load.latencies_ms if latency > 50]
    assert len(waited) >= 30
    assert max(load.latencies_ms) >= 400
    # Sent without waiting for answers.
    assert load.most_open >= 30


def test_a_closed_loop_counts_the_answers_of_each_connection(body: Path) -> None:
    server = Server(refuse_every=4)
    with serving(server) as url:
        load = measure(url, body, connections=3, seconds=0.5, by_connection=True)
    assert len(load.answers) == 3
    assert min(load.answers) > 0
    assert sum(load.answers) + load.failed == load.requests == len(server.bodies)
    assert load.failed == len(server.bodies) // 4


def test_what_is_refused_is_lost_and_counts_as_the_longest(body: Path) -> None:
    with serving(Server(refuse_every=5)) as url:
        load = measured(url, body, rate=50)
    assert load.lost == 10
    assert sorted(load.latencies_ms)[-10:] == [1e3 * PATIENCE_S] * 10
    assert sorted(load.latencies_ms)[39] < 1e3 * PATIENCE_S


def test_a_server_that_is_not_there_is_not_measured(body: Path) -> None:
    with serving(Server()) as url:
        pass
    with pytest.raises(subprocess.CalledProcessError):
        measured(url, body, rate=10)


@pytest.mark.parametrize(("idle_s", "used"), [(60.0, 1), (0.1, 2)], ids=["young", "old"])
def test_a_connection_that_waited_long_is_not_used_again(idle_s: float, used: int) -> None:
    async def ask_twice(url: str) -> None:
        address, request = post_request(url, b"picture", content_type="image/jpeg")
        connections = Connections(address, idle_s=idle_s)
        for _ in range(2):
            until = asyncio.get_running_loop().time() + PATIENCE_S
            assert await connections.answer(request, until=until) == (200, b"{}")
            await asyncio.sleep(0.2)
        connections.close()

    server = Server()
    with serving(server) as url:
        asyncio.run(ask_twice(url))
    assert len(server.clients) == used
