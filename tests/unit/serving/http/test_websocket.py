"""The layer around every WebSocket, driven as an ASGI server drives it."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from starlette.types import Message

from serving.errors import ServingError
from serving.errors.operation import StoreTooNew
from serving.errors.requests import BadRequest
from serving.http.auth import Access, hash_key
from serving.http.limits import RateLimit
from serving.http.middleware import Edge, RouteTable
from serving.http.websocket import KEY_PREFIX, STREAM_NOTES, SUBPROTOCOL, WebSocketMiddleware


class Listener:
    """Records the requests that it is notified of."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, int]] = []

    def request_started(self) -> None:
        raise AssertionError("WebSockets are not requests in progress")

    request_finished = request_started

    def request(self, *, route: str, method: str, status: int, seconds: float) -> None:
        self.requests.append((route, method, status))


async def polite(scope: Any, receive: Any, send: Any) -> None:
    """Accepts, reads until the client leaves."""
    await send({"type": "websocket.accept"})
    scope["state"][STREAM_NOTES] = {"frames": 3}
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def closing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": 1013})


async def absent(scope: Any, receive: Any, send: Any) -> None:
    """The router's answer to an unknown path."""
    await send({"type": "websocket.close"})


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    raise BadRequest("got this, expected that")


async def failing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    raise RuntimeError("the secret")


class Shaken:
    """One handshake through the layer."""

    def __init__(
        self,
        app: Callable[..., Awaitable[None]] = polite,
        *,
        headers: dict[str, str] | None = None,
        subprotocols: tuple[str, ...] = (),
        keys: tuple[str, ...] = (),
        pages: tuple[str, ...] = (),
        rate: RateLimit | None = None,
        refuses: bool = True,
    ) -> None:
        self.sent: list[Message] = []
        self.listener = Listener()
        given = {"host": "localhost:8000"} | (headers or {})
        scope = {
            "type": "websocket",
            "path": "/stream",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 5000),
            "subprotocols": list(subprotocols),
            "extensions": {"websocket.http.response": {}} if refuses else {},
        }
        edge = WebSocketMiddleware(
            app,
            Edge(
                routes=RouteTable([]),
                access=Access(keys, allow_anonymous=False, rate=rate),
                listener=self.listener,
                log_requests=True,
            ),
            allowed_origins=pages,
        )
        waiting: list[Message] = [
            {"type": "websocket.receive", "bytes": b"x"},
            {"type": "websocket.disconnect", "code": 1000},
        ]

        async def receive() -> Message:
            return waiting.pop(0)

        async def send(message: Message) -> None:
            self.sent.append(message)

        asyncio.run(edge(scope, receive, send))

    @property
    def status(self) -> int:
        ((_, method, status),) = self.listener.requests
        assert method == "WS"
        return status

    @property
    def problem(self) -> str:
        assert self.sent[0]["type"] == "websocket.http.response.start"
        assert self.sent[0]["status"] == self.status
        body = b"".join(message["body"] for message in self.sent[1:])
        return str(orjson.loads(body)["type"]).rpartition(":")[2]


def test_what_is_accepted_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "serving.access")
    shaken = Shaken(headers={"x-request-id": "find-me"})
    assert shaken.status == 101
    assert (b"x-request-id", b"find-me") in shaken.sent[0]["headers"]
    (record,) = caplog.records
    given = vars(record)
    assert (given["request_id"], given["code"], given["frames"]) == ("find-me", 1000, 3)
    assert "127.0.0.1" not in str(given)


def test_the_code_with_which_this_side_ends_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "serving.access")
    Shaken(closing)
    assert vars(caplog.records[0])["code"] == 1013


@pytest.mark.parametrize(
    ("origin", "pages", "status"),
    [
        (None, (), 101),
        ("http://localhost:8000", (), 101),
        ("https://LOCALHOST:8000", (), 101),
        ("http://localhost", (), 403),
        ("http://localhost:8001", (), 403),
        ("https://evil.example", (), 403),
        ("https://evil.example", ("https://good.example",), 403),
        ("https://good.example", ("https://good.example",), 101),
        ("https://good.example.evil.example", ("https://good.example",), 403),
        ("https://anybody.example", ("*",), 101),
        ("null", (), 403),
        ("file://localhost:8000", (), 403),
        ("http://[", (), 403),
        ("nonsense", (), 403),
    ],
)
def test_only_this_services_pages_and_the_named_ones_may_open_one(
    origin: str | None, pages: tuple[str, ...], status: int
) -> None:
    shaken = Shaken(headers={"origin": origin} if origin else {}, pages=pages)
    assert shaken.status == status
    if status == 403:
        assert shaken.problem == "forbidden"


@pytest.mark.parametrize(
    ("headers", "subprotocols", "status"),
    [
        ({}, (), 401),
        ({"authorization": "Bearer right"}, (), 101),
        ({"x-api-key": "right"}, (), 101),
        ({}, (SUBPROTOCOL, f"{KEY_PREFIX}right"), 101),
        ({}, (SUBPROTOCOL, f"{KEY_PREFIX}wrong"), 401),
        ({}, (SUBPROTOCOL,), 401),
        ({}, (SUBPROTOCOL, KEY_PREFIX), 401),
        # A header goes first: who sets one means it.
        ({"x-api-key": "wrong"}, (SUBPROTOCOL, f"{KEY_PREFIX}right"), 401),
    ],
)
def test_a_key_comes_in_a_header_or_as_a_subprotocol(
    headers: dict[str, str], subprotocols: tuple[str, ...], status: int
) -> None:
    keys = (hash_key("app", "predict", "right"),)
    shaken = Shaken(headers=headers, subprotocols=subprotocols, keys=keys)
    assert shaken.status == status
    assert "right" not in str(shaken.sent)
    if status == 101:
        assert shaken.sent[0]["subprotocol"] == (SUBPROTOCOL if SUBPROTOCOL in subprotocols else None)


def test_other_addresses_are_not_answered_without_keys() -> None:
    shaken = Shaken(headers={"host": "mien.example"})
    assert (shaken.status, shaken.problem) == (403, "forbidden")


def test_the_rate_holds_handshakes_back() -> None:
    rate = RateLimit(0.1, 1)
    assert Shaken(rate=rate).status == 101
    refused = Shaken(rate=rate)
    assert (refused.status, refused.problem) == (429, "rate-limited")
    assert b"retry-after" in dict(refused.sent[0]["headers"])


def test_an_unknown_path_is_a_problem() -> None:
    shaken = Shaken(absent)
    assert (shaken.status, shaken.problem) == (404, "not-found")


def test_a_server_that_cannot_refuse_with_a_body_refuses_without() -> None:
    shaken = Shaken(refusing, refuses=False)
    assert (shaken.status, shaken.sent) == (400, [{"type": "websocket.close", "code": 1008}])


def test_a_failure_after_the_handshake_ends_the_connection_and_gives_nothing_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shaken = Shaken(failing)
    assert shaken.sent[-1]["code"] == 1011
    assert "secret" not in str(shaken.sent)
    assert "the secret" in caplog.text


TOO_NEW = StoreTooNew(url="sqlite:///x.db", found=9, known=3)
NO_DETECTOR = ServingError("the face detector cannot be used")


def as_traceback(error: Exception) -> str:
    """What Starlette sends of an error at startup."""
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("reason", "logged"),
    [
        (as_traceback(TOO_NEW), str(TOO_NEW)),
        (as_traceback(NO_DETECTOR), str(NO_DETECTOR)),
        ("Traceback …\nRuntimeError: a bug", "Traceback …\nRuntimeError: a bug"),
    ],
)
def test_what_the_service_cannot_start_with_is_one_line(reason: str, logged: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.failed", "message": reason})

    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nothing arrives before the start has failed")

    async def send(message: Message) -> None:
        sent.append(message)

    access = Access((), allow_anonymous=False)
    edge = Edge(routes=RouteTable([]), access=access, listener=Listener(), log_requests=True)
    asyncio.run(WebSocketMiddleware(app, edge)({"type": "lifespan"}, receive, send))
    assert sent == [{"type": "lifespan.startup.failed", "message": logged}]
