"""ASGI middleware around each HTTP request: admission, body limits, response headers, log, metrics, traces.

The way of a request is straight: its endpoint is looked up, it is admitted, the endpoint's handler answers,
the response is sent and recorded. `serving.http.websocket` does the same for WebSockets.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import ServingError
from serving.errors.requests import BodyIncomplete, BodyTooSlow, PayloadTooLarge
from serving.http import problems
from serving.http.auth import Access, Caller, RequestHead
from serving.http.endpoint import Endpoint
from serving.http.request.body import HeldBytes
from serving.http.request.compression import DecompressedBody, Decompressor, is_compressed
from serving.http.telemetry.traces import RequestOutcome, Trace, Traces

_log = logging.getLogger("serving.http")
_access = logging.getLogger("serving.access")

_UNMATCHED = "unmatched"
# Labels of metrics and spans: the HTTP parser accepts about forty methods, each would create its own series.
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
ANONYMOUS = Caller("anonymous", "open")


class RequestListener(Protocol):
    """Listener for request events, for example metrics."""

    def request_started(self) -> None:
        """A request arrived that is neither a probe nor a scrape."""

    def request_finished(self) -> None:
        """A request that `request_started` reported was answered or given up."""

    def request(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """A request or a WebSocket handshake was answered."""


class RouteTable:
    """The declared endpoints, by method and path.

    FastAPI's router searches all routes, fills a dozen entries of the scope and opens two exit stacks for
    each request, which costs as much as the rest of the request handling. It only gets what this table has no
    handler for: unknown paths and methods, which it refuses.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        by_path: dict[str, dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
        self._exact = {path: methods for path, methods in by_path.items() if "{" not in path}
        self._templates = [(compile_path(path)[0], found) for path, found in by_path.items() if "{" in path]

    def find(self, scope: Scope, method: str) -> Endpoint:
        """Return the endpoint of a request, and store the parameters of its path in the scope."""
        methods = self._exact.get(scope["path"])
        if methods is None:
            methods = self._match(scope)
        return methods.get(method) or _undeclared(method, scope["path"], methods)

    def _match(self, scope: Scope) -> dict[str, Endpoint]:
        for pattern, methods in self._templates:
            if (found := pattern.match(scope["path"])) is not None:
                scope["path_params"] = found.groupdict()
                return methods
        return {}


def _undeclared(method: str, path: str, methods: dict[str, Endpoint]) -> Endpoint:
    """Return the rules for a method that no endpoint of a path has: those of the path's other methods."""
    like = next(iter(methods.values()), Endpoint(method=method, path=path))
    if like.scope != "open":
        like = replace(like, scope="admin" if method == "DELETE" else "predict")
    return replace(like, method=method, handler=None)


@dataclass(frozen=True, kw_only=True)
class Edge:
    """What the middlewares of HTTP requests and of WebSockets share."""

    routes: RouteTable
    access: Access
    listener: RequestListener
    log_requests: bool


class HttpMiddleware:
    """The middleware of HTTP requests; `create_app` adds it once."""

    def __init__(
        self,
        app: ASGIApp,
        edge: Edge,
        *,
        others: ASGIApp,
        limits: RequestLimits,
        traces: Traces | None = None,
    ) -> None:
        """Wrap the application; `others` gets WebSockets and the lifespan."""
        self._app = app
        self._others = others
        self._routes, self._access, self._listener = edge.routes, edge.access, edge.listener
        self._log_requests = edge.log_requests
        self._limits = limits
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; pass WebSockets and the lifespan on."""
        if scope["type"] != "http":
            await self._others(scope, receive, send)
            return
        endpoint = self._routes.find(scope, scope["method"])
        exchange = Exchange(scope, receive, send, endpoint, self._limits)
        trace = self._traces.begin(exchange.head.headers, path=scope["path"]) if self._traces else None
        caller = ANONYMOUS
        # Otherwise a scrape would count itself and never find an idle service.
        if endpoint.logged:
            self._listener.request_started()
        try:
            try:
                head = exchange.head
                caller = self._access.admit(endpoint.scope, key=head.key, origin=head.origin)
                scope["state"].update(caller=caller, client=head.origin.client)
                exchange.check_announced()
                await self._answer(endpoint, scope, exchange)
            except Exception as error:
                if exchange.status:  # the response has started: a second one is not possible
                    raise
                await _refuse(error, scope, exchange)
        finally:
            exchange.close()
            if endpoint.logged:
                self._listener.request_finished()
            self._record(scope, exchange, caller, trace, logged=endpoint.logged)

    async def _answer(self, endpoint: Endpoint, scope: Scope, exchange: Exchange) -> None:
        if endpoint.handler is None:
            await self._app(scope, exchange.receive, exchange.send)
            return
        scope["route"] = endpoint
        response = await endpoint.handler(Request(scope, exchange.receive, exchange.send))
        await response(scope, exchange.receive, exchange.send)

    def _record(
        self, scope: Scope, exchange: Exchange, caller: Caller, trace: Trace | None, *, logged: bool
    ) -> None:
        seconds = time.perf_counter() - exchange.started_at
        route = route_label(scope)
        method = scope["method"] if scope["method"] in _METHODS and route != _UNMATCHED else "other"
        self._listener.request(route=route, method=method, status=exchange.status, seconds=seconds)
        extra = {}
        if self._traces is not None and trace is not None:
            outcome = RequestOutcome(
                method=method, route=route, status=exchange.status, request_id=exchange.head.request_id
            )
            extra["trace_id"] = self._traces.end(trace, outcome)
        if self._log_requests and logged:
            log_access(
                f"{scope['method']} {route}",
                exchange.status,
                exchange.head,
                caller,
                bytes=exchange.received,
                ms=round(seconds * 1e3, 2),
                **extra,
            )


# How long the rest of a refused body is read and discarded, so that the client can read the response
# instead of a connection reset (RFC 9112, 9.6).
_LINGER_S = 2.0
_ADDED_NAMES = frozenset(name for name, _ in problems.ADDED_HEADERS)


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """Limits of one request's body, besides the one that its endpoint declares."""

    body_timeout_s: float
    held: HeldBytes
    """Shared by all requests."""


class Exchange:
    """One request and its response: counts the bytes received and completes the headers sent."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, endpoint: Endpoint, limits: RequestLimits
    ) -> None:
        self.started_at = time.perf_counter()
        """Arrival of the request (`time.perf_counter`), s."""
        self.status = 0
        """Status of the response; 0 before it starts."""
        self.received = 0
        """Bytes of the body received up to now."""
        self._receive, self._send = receive, send
        self.head = RequestHead(scope)
        self._limit = endpoint.max_bytes(scope["state"].get("dependencies"))
        self._shared = limits.held
        self._held = 0
        self._timeout_s = limits.body_timeout_s
        self._deadline: float | None = None
        self._headers = self.head.headers
        # RFC 9112, 6.3: a request without these two has no body.
        self._complete = not {b"content-length", b"transfer-encoding"} & self._headers.keys()
        self._started_reading = False
        self.receive: Receive = self._receive_plain
        """Receives the next part of the body, decompressed; raises the errors of both receive functions."""

    def check_announced(self) -> None:
        """Check the announced length and encoding before reading the body.

        Raises:
            PayloadTooLarge: the length is above the limit.
            EncodingUnsupported: the body is compressed with an unsupported encoding.
        """
        encoding = self._headers.get(b"content-encoding", b"").decode("latin-1")
        if encoding and not self._complete and is_compressed(encoding):
            self.receive = DecompressedBody(
                Decompressor(encoding, limit=self._limit),
                receive=self._receive_plain,
                receive_after=self._receive,
                hold=self._hold,
            ).receive
        announced = self._headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._limit:
            raise PayloadTooLarge(limit=self._limit)

    async def _receive_plain(self) -> Message:
        """Receive the next part of the body as it was sent.

        Raises:
            PayloadTooLarge: the body is larger than allowed.
            BodiesFull: all requests together hold more than is allowed.
            BodyTooSlow: the body did not arrive in time.
            BodyIncomplete: the client disconnected.
        """
        if self._complete and self._started_reading:
            return await self._receive()
        message = await self._receive_in_time()
        if message["type"] == "http.disconnect" and not self._complete:
            self._complete = True
            raise BodyIncomplete(got=self.received)
        count = len(message.get("body", b""))
        self.received += count
        self._complete = self._complete or not message.get("more_body", False)
        if self.received > self._limit:
            raise PayloadTooLarge(limit=self._limit)
        self._hold(count)
        return message

    def _hold(self, count: int) -> None:
        self._shared.take(count)
        self._held += count

    def close(self) -> None:
        """Release the bytes of the body; call this when the request is done."""
        self._shared.give_back(self._held)
        self._held = 0

    async def _receive_in_time(self) -> Message:
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
        """Send a part of the response, with the headers that all responses have."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._with_added_headers(message.get("headers", []))}
        elif not message.get("more_body", False) and not self._complete:
            await self._send({**message, "more_body": True})
            await self._discard_rest()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    def _with_added_headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        given = {name for name, _ in headers} & _ADDED_NAMES
        added = (
            [pair for pair in problems.ADDED_HEADERS if pair[0] not in given]
            if given
            else [*problems.ADDED_HEADERS]
        )
        added.append((b"x-request-id", self.head.request_id.encode()))
        if not self._complete:
            # Closing is cheaper than reading the rest of the body to keep the connection.
            added.append((b"connection", b"close"))
        return [*headers, *added]

    async def _discard_rest(self) -> None:
        # A client that waits for `100 Continue` sends no body once it has the response.
        if b"expect" in self._headers and not self._started_reading:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return


async def _refuse(error: Exception, scope: Scope, exchange: Exchange) -> None:
    if not isinstance(error, ServingError):
        log_failure("a request failed", error, exchange.head)
    answer = problems.response(error, request_id=exchange.head.request_id, path=scope["path"])
    await answer(scope, exchange.receive, exchange.send)


def route_label(scope: Scope) -> str:
    """Return the path's template: `/predictions/{id}` is one route for all ids."""
    return str(getattr(scope.get("route"), "path", _UNMATCHED))


def log_access(request: str, status: int, head: RequestHead, caller: Caller, **more: Any) -> None:
    """Write one line of the access log."""
    _access.info(
        "%s %d", request, status, extra={"request_id": head.request_id, "caller": caller.name, **more}
    )


def log_failure(message: str, error: Exception, head: RequestHead) -> None:
    """Write an unexpected error to the log, with its traceback."""
    _log.error(message, exc_info=error, extra={"request_id": head.request_id})
