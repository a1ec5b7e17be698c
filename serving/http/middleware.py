"""ASGI middleware around each request and WebSocket: access, rates, error responses, log, metrics, traces."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import ServingError
from serving.http import problems
from serving.http.auth import Access, Caller, needed_scope
from serving.http.exchange import Exchange, RequestHead, RequestLimits
from serving.http.telemetry import RequestOutcome, Trace, Traces
from serving.http.websocket import Handshake

_log = logging.getLogger("serving.http")
_access = logging.getLogger("serving.access")

# Probes and scrapes come every few seconds and carry no information.
_UNLOGGED = frozenset(
    {"/livez", "/readyz", "/metrics", "/ping", "/health", "/v2/health/live", "/v2/health/ready"}
)
_UNMATCHED = "unmatched"
# Labels of metrics and spans: the HTTP parser accepts about forty methods, each would create its own series.
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_ANONYMOUS = Caller("anonymous", "open")
# The last line of a traceback whose error message needs no traceback.
_OWN_ERROR = re.compile(r"serving\.(?:errors|failures)\.\w+: (.*)")
STREAM_NOTES = "stream_notes"
"""Key of a WebSocket's state under which its endpoint stores extra fields for the access log."""


class RequestListener(Protocol):
    """Listener for request events, for example metrics."""

    def request_started(self) -> None:
        """A request arrived that is neither a probe nor a scrape."""

    def request_finished(self) -> None:
        """A request that `request_started` reported was answered or given up."""

    def request(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """A request or a WebSocket handshake was answered."""


class RequestMiddleware:
    """The middleware; `create_app` adds it once."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        limits: RequestLimits,
        listener: RequestListener,
        log_requests: bool,
        allowed_origins: Collection[str] = (),
        traces: Traces | None = None,
    ) -> None:
        """Wrap the application; pages of `allowed_origins` may open WebSockets."""
        self._app = app
        self._access = access
        self._limits = limits
        self._listener = listener
        self._log_requests = log_requests
        self._allowed_origins = allowed_origins
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one HTTP request or WebSocket; pass other scopes to the application."""
        if scope["type"] == "http":
            await self._handle_request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._handle_websocket(scope, receive, send)
        else:
            await self._app(scope, receive, _without_tracebacks(send))

    async def _handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, self._limits)
        trace = self._traces.begin(exchange.head.headers, path=scope["path"]) if self._traces else None
        caller = _ANONYMOUS
        # Otherwise a scrape would count itself and never find an idle service.
        counts = scope["path"] not in _UNLOGGED
        if counts:
            self._listener.request_started()
        try:
            try:
                caller = self._admit(scope["method"], scope["path"], exchange.head, exchange.head.key)
                scope["state"].update(caller=caller, client=exchange.head.origin.client)
                exchange.check_announced()
                await self._app(scope, exchange.receive, exchange.send)
            except Exception as error:
                if exchange.status:  # the response has started: a second one is not possible
                    raise
                await self._refuse(error, scope, exchange)
        finally:
            exchange.close()
            if counts:
                self._listener.request_finished()
            self._record(scope, exchange, caller, trace)

    async def _handle_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        handshake = Handshake(scope, receive, send)
        caller = _ANONYMOUS
        try:
            try:
                caller = self._admit("GET", scope["path"], handshake.head, handshake.key)
                handshake.check_origin(self._allowed_origins)
                scope["state"].update(caller=caller, client=handshake.head.origin.client)
                await self._app(scope, handshake.receive, handshake.send)
            except Exception as error:
                if not isinstance(error, ServingError):
                    _log_failure("a WebSocket failed", error, handshake.head)
                await handshake.refuse(error)
        finally:
            self._record_websocket(scope, handshake, caller)

    def _admit(self, method: str, path: str, head: RequestHead, key: str | None) -> Caller:
        needed = needed_scope(method, path)
        caller = self._access.check(needed, key=key, origin=head.origin)
        if needed != "open" and self._limits.rate is not None:
            named = caller.name != "anonymous"
            self._limits.rate.take(f"key {caller.name}" if named else f"from {head.origin.client}")
        return caller

    async def _refuse(self, error: Exception, scope: Scope, exchange: Exchange) -> None:
        if not isinstance(error, ServingError):
            _log_failure("a request failed", error, exchange.head)
        answer = problems.response(error, request_id=exchange.head.request_id, path=scope["path"])
        await answer(scope, exchange.receive, exchange.send)

    def _record(self, scope: Scope, exchange: Exchange, caller: Caller, trace: Trace | None) -> None:
        seconds = time.perf_counter() - exchange.started_at
        route = _route(scope)
        method = scope["method"] if scope["method"] in _METHODS and route != _UNMATCHED else "other"
        self._listener.request(route=route, method=method, status=exchange.status, seconds=seconds)
        extra = {}
        if self._traces is not None and trace is not None:
            outcome = RequestOutcome(
                method=method, route=route, status=exchange.status, request_id=exchange.head.request_id
            )
            extra["trace_id"] = self._traces.end(trace, outcome)
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
                    **extra,
                },
            )

    def _record_websocket(self, scope: Scope, handshake: Handshake, caller: Caller) -> None:
        route, now = _route(scope), time.perf_counter()
        # Time until the handshake was answered; the duration of the stream depends on the client.
        seconds = handshake.answered_at - handshake.started_at
        self._listener.request(route=route, method="WS", status=handshake.status, seconds=seconds)
        if self._log_requests:
            _access.info(
                "WS %s %d",
                route,
                handshake.status,
                extra={
                    "request_id": handshake.head.request_id,
                    "caller": caller.name,
                    "code": handshake.close_code,
                    "ms": round((now - handshake.started_at) * 1e3, 2),
                    **scope["state"].get(STREAM_NOTES, {}),
                },
            )


def _route(scope: Scope) -> str:
    """Return the path's template: `/predictions/{id}` is one route for all ids."""
    return str(getattr(scope.get("route"), "path", _UNMATCHED))


def _without_tracebacks(send: Send) -> Send:
    """Shorten the message of a failed startup to the error's text: one log line instead of a traceback."""

    async def send_short(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed":
            last = message.get("message", "").strip().rpartition("\n")[2]
            if (known := _OWN_ERROR.fullmatch(last)) is not None:
                message = {**message, "message": known[1]}
        await send(message)

    return send_short


def _log_failure(message: str, error: Exception, head: RequestHead) -> None:
    _log.error(message, exc_info=error, extra={"request_id": head.request_id})
