"""Around every request and every WebSocket: who asks and how often; refusals, log, count, trace.

Pure ASGI, one layer.
"""

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
from serving.http.exchange import Exchange, Head, Limits
from serving.http.telemetry import Outcome, Trace, Traces
from serving.http.websocket import Handshake

_log = logging.getLogger("serving.http")
_access = logging.getLogger("serving.access")

# Probes and scrapes come every few seconds and tell nothing.
_UNLOGGED = frozenset(
    {"/livez", "/readyz", "/metrics", "/ping", "/health", "/v2/health/live", "/v2/health/ready"}
)
_UNMATCHED = "unmatched"
# Labels of metrics and spans: HTTP's parser knows some forty verbs, and each would begin series of its own.
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_NOBODY = Caller("anonymous", "open")
# The last line of a traceback whose error says all there is to say.
_OWN_ERROR = re.compile(r"serving\.(?:errors|failures)\.\w+: (.*)")
STREAM_NOTES = "stream_notes"
"""Key of a WebSocket's state under which its endpoint leaves what its log line is to have."""


class Counted(Protocol):
    """Who is told of every request."""

    def begun(self) -> None:
        """One request came that is neither a probe nor a scrape."""

    def done(self) -> None:
        """One that `begun` was told of has its answer, or never will."""

    def request(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """One request was answered."""


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
        traces: Traces | None = None,
    ) -> None:
        """Wrap the application; `pages` are the origins whose pages may open WebSockets."""
        self._app = app
        self._access = access
        self._limits = limits
        self._counted = counted
        self._log_requests = log_requests
        self._pages = pages
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or one WebSocket; what is neither passes through."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._converse(scope, receive, send)
        else:
            await self._app(scope, receive, _short_of_tracebacks(send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, self._limits)
        trace = self._traces.begin(exchange.head.headers, path=scope["path"]) if self._traces else None
        caller = _NOBODY
        # A scrape that counted itself would never find an idle service.
        counts = scope["path"] not in _UNLOGGED
        if counts:
            self._counted.begun()
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
            if counts:
                self._counted.done()
            self._note(scope, exchange, caller, trace)

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        handshake = Handshake(scope, receive, send)
        caller = _NOBODY
        try:
            try:
                caller = self._admit("GET", scope["path"], handshake.head, handshake.key)
                handshake.check_page(self._pages)
                scope["state"].update(caller=caller, client=handshake.head.origin.client)
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

    async def _refuse(self, error: Exception, scope: Scope, exchange: Exchange) -> None:
        if not isinstance(error, ServingError):
            _complain("a request failed", error, exchange.head)
        answer = problems.response(error, request_id=exchange.head.request_id, path=scope["path"])
        await answer(scope, exchange.receive, exchange.send)

    def _note(self, scope: Scope, exchange: Exchange, caller: Caller, trace: Trace | None) -> None:
        seconds = time.perf_counter() - exchange.begun
        route = _route(scope)
        method = scope["method"] if scope["method"] in _METHODS and route != _UNMATCHED else "other"
        self._counted.request(route=route, method=method, status=exchange.status, seconds=seconds)
        extra = {}
        if self._traces is not None and trace is not None:
            outcome = Outcome(
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
