"""The layer around every request, driven as an ASGI server drives it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from starlette.types import Message

from serving.errors.requests import BadRequest
from serving.http.app import ROUTES
from serving.http.auth import Access
from serving.http.endpoint import Endpoint
from serving.http.limits import RateLimit
from serving.http.middleware import Edge, HttpMiddleware, RequestLimits, RouteTable
from serving.http.request.body import HeldBytes


class Listener:
    """Records the requests that it is notified of."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, int]] = []
        self.open = 0

    def request_started(self) -> None:
        self.open += 1

    def request_finished(self) -> None:
        self.open -= 1

    def request(self, *, route: str, method: str, status: int, seconds: float) -> None:
        self.requests.append((route, method, status))


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body and answers with it."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def hasty(scope: Any, receive: Any, send: Any) -> None:
    """Answers without reading the body."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


async def failing(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("the secret")


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    raise BadRequest("got this, expected that")


class Exchanged:
    """One request through the layer."""

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        *pieces: bytes,
        headers: dict[str, str] | None = None,
        limit: int = 100,
        rate: RateLimit | None = None,
        held: HeldBytes | None = None,
        timeout_s: float = 5.0,
        ends: bool = True,
        gone: bool = False,
    ) -> None:
        self.sent: list[Message] = []
        self.listener = Listener()
        self.reads = 0
        given = {"host": "localhost", "transfer-encoding": "chunked"} | (headers or {})
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/detect",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 5000),
        }
        edge = HttpMiddleware(
            app,
            Edge(
                routes=RouteTable([Endpoint(method="POST", path="/detect", max_bytes=lambda _: limit)]),
                access=Access((), allow_anonymous=False, rate=rate),
                listener=self.listener,
                log_requests=True,
            ),
            others=app,
            limits=RequestLimits(body_timeout_s=timeout_s, held=held or HeldBytes(10**9)),
        )
        waiting = list(pieces)

        async def receive() -> Message:
            self.reads += 1
            if waiting:
                piece = waiting.pop(0)
                return {"type": "http.request", "body": piece, "more_body": bool(waiting) or not ends}
            if gone:
                return {"type": "http.disconnect"}
            await asyncio.sleep(60)
            raise AssertionError("the wait is too long")

        async def send(message: Message) -> None:
            self.sent.append(message)

        asyncio.run(edge(scope, receive, send))

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def problem(self) -> str:
        return str(orjson.loads(self.body)["type"]).rpartition(":")[2]


def test_a_request_passes_with_headers_added_and_is_counted() -> None:
    exchange = Exchanged(echo, b"ab", b"cd")
    assert (exchange.status, exchange.body) == (200, b"abcd")
    assert exchange.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in exchange.headers["content-security-policy"]
    assert "connection" not in exchange.headers
    assert exchange.listener.requests == [("unmatched", "other", 200)]
    assert exchange.listener.open == 0


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [("abc-1.2_3", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ("", False)],
)
def test_a_request_id_is_taken_over_when_it_is_harmless(wanted: str, taken: bool) -> None:
    assert (Exchanged(echo, b"", headers={"x-request-id": wanted}).headers["x-request-id"] == wanted) == taken


def test_bytes_are_counted_as_they_come() -> None:
    exchange = Exchanged(echo, b"x" * 60, b"x" * 41, b"more", limit=100)
    assert (exchange.status, exchange.problem) == (413, "payload-too-large")
    assert exchange.headers["connection"] == "close"
    # What was left was read and thrown away, so that the client gets to read the answer.
    assert exchange.reads == 3
    assert Exchanged(echo, b"x" * 60, b"x" * 40, limit=100).status == 200


def test_an_announced_length_above_the_limit_is_refused_unread() -> None:
    exchange = Exchanged(echo, headers={"content-length": "101", "expect": "100-continue"})
    assert exchange.status == 413
    assert exchange.reads == 0


def test_a_client_that_is_too_slow_gets_an_answer() -> None:
    exchange = Exchanged(echo, b"x", ends=False, timeout_s=0.05)
    assert (exchange.status, exchange.problem) == (408, "body-too-slow")


def test_a_client_that_leaves_in_the_middle_is_not_a_failure_of_the_service() -> None:
    exchange = Exchanged(echo, b"x", ends=False, gone=True)
    assert (exchange.status, exchange.problem) == (400, "body-incomplete")


def test_an_answer_before_the_body_is_read_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.http.middleware._LINGER_S", 0.05)
    exchange = Exchanged(hasty, b"x", ends=False)
    assert exchange.headers["connection"] == "close"
    assert exchange.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert exchange.body == b"done"


def test_an_error_of_the_core_becomes_its_problem() -> None:
    exchange = Exchanged(refusing, b"")
    assert (exchange.status, exchange.problem) == (400, "bad-request")


def test_an_unexpected_error_becomes_a_500_that_gives_nothing_away(caplog: pytest.LogCaptureFixture) -> None:
    exchange = Exchanged(failing, b"")
    assert (exchange.status, exchange.problem) == (500, "internal")
    assert b"secret" not in exchange.body
    assert "the secret" in caplog.text


def test_the_rate_holds_clients_back() -> None:
    rate = RateLimit(0.1, 1)
    assert Exchanged(echo, b"", rate=rate).status == 200
    exchange = Exchanged(echo, b"", rate=rate)
    assert (exchange.status, exchange.problem) == (429, "rate-limited")
    assert int(exchange.headers["retry-after"]) >= 9


def test_all_bodies_together_are_bounded_and_give_their_room_back() -> None:
    held = HeldBytes(100)
    held.take(50)
    exchange = Exchanged(echo, b"x" * 30, b"x" * 21, held=held)
    assert (exchange.status, exchange.problem) == (503, "bodies-full")
    assert int(exchange.headers["retry-after"]) >= 1
    for _ in range(5):
        assert Exchanged(echo, b"x" * 30, b"x" * 20, held=held).status == 200
    held.take(50)


@pytest.mark.parametrize(
    ("path", "found", "parameters"),
    [
        ("/model", "/model", None),
        ("/predictions/12", "/predictions/{id}", {"id": "12"}),
        ("/predictions/{id}", "/predictions/{id}", {"id": "{id}"}),
        ("/predictions/1/2", "/predictions/1/2", None),
        ("/page/0/js/camera.js", "/page/{version}/{name:path}", {"version": "0", "name": "js/camera.js"}),
    ],
)
def test_an_endpoint_is_found_by_its_path(path: str, found: str, parameters: dict[str, str] | None) -> None:
    scope: dict[str, Any] = {"path": path}
    assert RouteTable(ROUTES).find(scope, "GET").path == found
    assert scope.get("path_params") == parameters


def test_no_address_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "serving.access")
    Exchanged(echo, b"")
    assert len(caplog.records) == 1
    assert "127.0.0.1" not in str(vars(caplog.records[0]))
