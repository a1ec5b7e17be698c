"""Around every request: who asks, how often, how many bytes, how slowly; request id, headers, log, count.

Pure ASGI, one layer: bytes are counted as they come from the socket, before anything reads them.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import ServingError
from serving.failures import BodyIncomplete, BodyTooSlow, PayloadTooLarge
from serving.http import problems
from serving.http.handshakes import Handshake
from serving.http.heads import Head
from serving.http.keys import Access, Caller, needed_scope
from serving.http.limits import HeldBytes, RateLimit

_log = logging.getLogger("serving.http")
_access = logging.getLogger("serving.access")

# How long the rest of a refused body is read and thrown away, so that the client gets to read the answer
# instead of a reset connection (RFC 9112, 9.6).
_LINGER_S = 2.0
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
# For whatever has no policy of its own: nothing may be loaded, as JSON needs nothing.
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
# Probes and scrapes come every few seconds and tell nothing.
_UNLOGGED = frozenset({"/livez", "/readyz", "/metrics"})
_UNMATCHED = "unmatched"
_NOBODY = Caller("anonymous", "open")
# The last line of a traceback whose error says all there is to say.
_OWN_ERROR = re.compile(r"serving\.(?:errors|failures)\.\w+: (.*)")
STREAM_NOTES = "stream_notes"
"""Key of a WebSocket's state under which its endpoint leaves what its log line is to have."""


class Counted(Protocol):
    """Who is told of every request."""

    def request(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """One request was answered."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may cost."""

    body_bytes: Callable[[str], int]
    """Path → most bytes of its body."""
    body_timeout_s: float
    held: HeldBytes
    """Shared by all requests."""
    rate: RateLimit | None
    """For everything but what is open to all."""


class Edge:
    """The one layer around the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        limits: Limits,
        counted: Counted,
        log_requests: bool,
        pages: Collection[str] = (),
    ) -> None:
        """Wrap the application; `pages` are the origins whose pages may open WebSockets."""
        self._app = app
        self._access = access
        self._limits = limits
        self._counted = counted
        self._log_requests = log_requests
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or one WebSocket; what is neither passes through."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._converse(scope, receive, send)
        else:
            await self._app(scope, receive, _short_of_tracebacks(send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(scope, receive, send, self._limits)
        caller = _NOBODY
        try:
            try:
                caller = self._admit(scope["method"], scope["path"], exchange.head, exchange.head.key)
                scope["state"].update(caller=caller, client=exchange.head.origin.client)
                exchange.check_announced()
                await self._app(scope, exchange.receive, exchange.send)
            except Exception as error:
                if exchange.status:  # an answer has begun: there is no second one
                    raise
                await self._refuse(error, scope, exchange)
        finally:
            exchange.close()
            self._note(scope, exchange, caller)

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        handshake = Handshake(scope, receive, send)
        caller = _NOBODY
        try:
            try:
                caller = self._admit("GET", scope["path"], handshake.head, handshake.key)
                handshake.check_page(self._pages)
                await self._app(scope, handshake.receive, handshake.send)
            except Exception as error:
                if not isinstance(error, ServingError):
                    _complain("a WebSocket failed", error, handshake.head)
                await handshake.refuse(error)
        finally:
            self._note_stream(scope, handshake, caller)

    def _admit(self, method: str, path: str, head: Head, key: str | None) -> Caller:
        needed = needed_scope(method, path)
        caller = self._access.check(needed, key=key, origin=head.origin)
        if needed != "open" and self._limits.rate is not None:
            named = caller.name != "anonymous"
            self._limits.rate.take(f"key {caller.name}" if named else f"from {head.origin.client}")
        return caller

    async def _refuse(self, error: Exception, scope: Scope, exchange: _Exchange) -> None:
        if not isinstance(error, ServingError):
            _complain("a request failed", error, exchange.head)
        answer = problems.response(error, request_id=exchange.head.request_id, path=scope["path"])
        await answer(scope, exchange.receive, exchange.send)

    def _note(self, scope: Scope, exchange: _Exchange, caller: Caller) -> None:
        seconds = time.perf_counter() - exchange.begun
        route = _route(scope)
        method = scope["method"] if route != _UNMATCHED else "other"
        self._counted.request(route=route, method=method, status=exchange.status, seconds=seconds)
        if self._log_requests and scope["path"] not in _UNLOGGED:
            _access.info(
                "%s %s %d",
                scope["method"],
                route,
                exchange.status,
                extra={
                    "request_id": exchange.head.request_id,
                    "caller": caller.name,
                    "bytes": exchange.received,
                    "ms": round(seconds * 1e3, 2),
                },
            )

    def _note_stream(self, scope: Scope, handshake: Handshake, caller: Caller) -> None:
        route, now = _route(scope), time.perf_counter()
        # How long it took to begin: how long a stream went on says nothing of the service.
        seconds = handshake.answered_at - handshake.begun
        self._counted.request(route=route, method="WS", status=handshake.status, seconds=seconds)
        if self._log_requests:
            _access.info(
                "WS %s %d",
                route,
                handshake.status,
                extra={
                    "request_id": handshake.head.request_id,
                    "caller": caller.name,
                    "code": handshake.close_code,
                    "ms": round((now - handshake.begun) * 1e3, 2),
                    **scope["state"].get(STREAM_NOTES, {}),
                },
            )


def _route(scope: Scope) -> str:
    """The template, not the path: `/predictions/{id}` is one route however many ids there are."""
    return str(getattr(scope.get("route"), "path", _UNMATCHED))


def _short_of_tracebacks(send: Send) -> Send:
    """For the application's start: what it cannot start with is one line of the log, and no traceback."""

    async def tell(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed":
            last = message.get("message", "").strip().rpartition("\n")[2]
            if (known := _OWN_ERROR.fullmatch(last)) is not None:
                message = {**message, "message": known[1]}
        await send(message)

    return tell


def _complain(message: str, error: Exception, head: Head) -> None:
    _log.error(message, exc_info=error, extra={"request_id": head.request_id})


class _Exchange:
    """One request and its answer: counts what comes in, completes what goes out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        self.begun = time.perf_counter()
        self.status = 0
        """Of the answer; 0 before it begins."""
        self.received = 0
        """Bytes of the body so far."""
        self._receive, self._send = receive, send
        self._limit = limits.body_bytes(scope["path"])
        self._shared = limits.held
        self._held = 0
        self._timeout_s = limits.body_timeout_s
        self._deadline: float | None = None
        self.head = Head(scope)
        self._headers = self.head.headers
        # RFC 9112, 6.3: a request without these two has no body.
        self._complete = not {b"content-length", b"transfer-encoding"} & self._headers.keys()
        self._started_reading = False

    def check_announced(self) -> None:
        """Refuse by the announced length, before a byte is read.

        Raises:
            PayloadTooLarge: it is above the limit.
        """
        announced = self._headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._limit:
            raise PayloadTooLarge(limit=self._limit)

    async def receive(self) -> Message:
        """The next part of the body.

        Raises:
            PayloadTooLarge: more came than is allowed.
            BodiesFull: all requests together hold more than is allowed.
            BodyTooSlow: it did not come in time.
            BodyIncomplete: the client went away.
        """
        if self._complete and self._started_reading:
            return await self._receive()
        message = await self._timely()
        if message["type"] == "http.disconnect" and not self._complete:
            self._complete = True
            raise BodyIncomplete(got=self.received)
        count = len(message.get("body", b""))
        self.received += count
        self._complete = self._complete or not message.get("more_body", False)
        if self.received > self._limit:
            raise PayloadTooLarge(limit=self._limit)
        self._shared.take(count)
        self._held += count
        return message

    def close(self) -> None:
        """The request is done, its body is let go."""
        self._shared.give_back(self._held)
        self._held = 0

    async def _timely(self) -> Message:
        self._started_reading = True
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.time() + self._timeout_s
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._receive()
        except TimeoutError as error:
            raise BodyTooSlow(got=self.received, limit_s=self._timeout_s) from error

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on, with the headers that all answers have."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._completed(message.get("headers", []))}
        elif not message.get("more_body", False) and not self._complete:
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    def _completed(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        given = {name for name, _ in headers}
        added = [pair for pair in (*_SECURITY_HEADERS, _POLICY) if pair[0] not in given]
        added.append((b"x-request-id", self.head.request_id.encode()))
        if not self._complete:
            # What is left of the body is not worth reading to keep the connection.
            added.append((b"connection", b"close"))
        return [*headers, *added]

    async def _linger(self) -> None:
        # A client that waits for `100 Continue` sends nothing once it has the answer.
        if b"expect" in self._headers and not self._started_reading:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return
