"""ASGI middleware around each WebSocket: origin check, admission, acceptance or refusal, log, metrics.

A browser lets any page open a WebSocket to any server and leaves the origin check to the server (for `fetch`
the browser makes that check itself, CORS). A page also cannot set headers, so it sends its key as one of the
offered subprotocols, as Kubernetes' API server takes bearer tokens
(https://kubernetes.io/docs/reference/using-api/api-concepts/#websockets). The key is never in the URL:
URLs are logged.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import ServingError
from serving.errors.requests import Forbidden, NotFound
from serving.http import problems
from serving.http.auth import Caller, RequestHead
from serving.http.middleware import (
    ANONYMOUS,
    Edge,
    log_access,
    log_failure,
    route_label,
)

SUBPROTOCOL = "mien.v1"
"""Accepted if it is offered: a browser that offers subprotocols fails unless the server accepts one."""
KEY_PREFIX = "mien.key."
"""Prefix of the subprotocol that carries a key; never accepted, so the key is not sent back."""
SWITCHING = 101
"""Status of an accepted handshake."""
_INTERNAL_ERROR = 1011
# The last line of a traceback whose error message needs no traceback.
_OWN_ERROR = re.compile(r"serving\.errors(?:\.\w+)+: (.*)")
STREAM_NOTES = "stream_notes"
"""Key of a WebSocket's state under which its endpoint stores extra fields for the access log."""


class WebSocketMiddleware:
    """The middleware of WebSockets and of the lifespan; `HttpMiddleware` passes them here."""

    def __init__(self, app: ASGIApp, edge: Edge, *, allowed_origins: Collection[str] = ()) -> None:
        """Wrap the application; pages of `allowed_origins` may open WebSockets."""
        self._app = app
        self._routes, self._access, self._listener = edge.routes, edge.access, edge.listener
        self._log_requests = edge.log_requests
        self._allowed_origins = allowed_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one WebSocket from its handshake to its end; pass the lifespan on."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, _without_tracebacks(send))
            return
        handshake = Handshake(scope, receive, send)
        head, caller = handshake.head, ANONYMOUS
        try:
            try:
                needed = self._routes.find(scope, "GET").scope
                caller = self._access.admit(needed, key=handshake.key, origin=head.origin)
                handshake.check_origin(self._allowed_origins)
                scope["state"].update(caller=caller, client=head.origin.client)
                await self._app(scope, handshake.receive, handshake.send)
            except Exception as error:
                if not isinstance(error, ServingError):
                    log_failure("a WebSocket failed", error, head)
                await handshake.refuse(error)
        finally:
            self._record(scope, handshake, caller)

    def _record(self, scope: Scope, handshake: Handshake, caller: Caller) -> None:
        route, now = route_label(scope), time.perf_counter()
        # Time until the handshake was answered; the duration of the stream depends on the client.
        seconds = handshake.answered_at - handshake.started_at
        self._listener.request(route=route, method="WS", status=handshake.status, seconds=seconds)
        if self._log_requests:
            log_access(
                f"WS {route}",
                handshake.status,
                handshake.head,
                caller,
                code=handshake.close_code,
                ms=round((now - handshake.started_at) * 1e3, 2),
                **scope["state"].get(STREAM_NOTES, {}),
            )


class Handshake:
    """One WebSocket from its handshake to its end."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started_at = time.perf_counter()
        """Arrival of the handshake (`time.perf_counter`), s."""
        self.head = RequestHead(scope)
        self.status = 0
        """101, or the status of the refusal; 0 before the handshake is answered."""
        self.close_code: int | None = None
        """Code with which either side closed the connection; None while it is open."""
        self.answered_at = self.started_at
        """When the handshake was accepted or refused (`time.perf_counter`)."""
        self._scope, self._receive, self._send = scope, receive, send
        self._offered: list[str] = scope.get("subprotocols", [])

    @property
    def key(self) -> str | None:
        """The API key, from a header (programs) or from a subprotocol (pages); None without one."""
        key = self.head.key
        if key is not None:
            return key
        keys = [item.removeprefix(KEY_PREFIX) for item in self._offered if item.startswith(KEY_PREFIX)]
        return keys[0] if keys else None

    def check_origin(self, allowed: Collection[str]) -> None:
        """Accept programs, this service's own page and pages of the allowed origins.

        Raises:
            Forbidden: the page is of another origin.
        """
        origin = self.head.headers.get(b"origin", b"").decode("latin-1")
        if not origin or origin in allowed or "*" in allowed:
            return
        if _authority(origin) != self.head.origin.host.lower():
            raise Forbidden(
                f"pages of {origin[:100]!r} may not open a stream; add the origin to MIEN_CORS_ORIGINS"
            )

    async def receive(self) -> Message:
        """Receive the client's next message."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect" and self.close_code is None:
            self.close_code = message.get("code")
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the application."""
        match message["type"]:
            case "websocket.accept":
                message = self._accepted(message)
            case "websocket.close" if self.status == 0:
                # The router closes an unknown path this way.
                await self.refuse(NotFound("this path has no WebSocket; see docs/api.md"))
                return
            case "websocket.close" if self.close_code is None:
                self.close_code = message.get("code")
        await self._send(message)

    async def refuse(self, error: Exception) -> None:
        """Answer the handshake with a problem; close the connection if the handshake was already accepted."""
        if self.status == SWITCHING:
            await self.send({"type": "websocket.close", "code": _INTERNAL_ERROR, "reason": "internal error"})
            return
        answer = problems.response(error, request_id=self.head.request_id)
        self._note(answer.status_code)
        if "websocket.http.response" not in self._scope.get("extensions", {}):
            await self._send({"type": "websocket.close", "code": 1008})
            return
        answer.headers["x-request-id"] = self.head.request_id
        await answer(self._scope, self._receive, self._send)

    def _accepted(self, message: Message) -> Message:
        self._note(SWITCHING)
        headers = [*message.get("headers", []), (b"x-request-id", self.head.request_id.encode())]
        chosen = SUBPROTOCOL if SUBPROTOCOL in self._offered else None
        return {**message, "headers": headers, "subprotocol": chosen}

    def _note(self, status: int) -> None:
        self.status = status
        self.answered_at = time.perf_counter()


def _authority(origin: str) -> str | None:
    """Return host and port of an origin in the form of `Host`: browsers omit the default port in both."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") else None


def _without_tracebacks(send: Send) -> Send:
    """Shorten the message of a failed startup to the error's text: one log line instead of a traceback."""

    async def send_short(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed":
            last = message.get("message", "").strip().rpartition("\n")[2]
            if (known := _OWN_ERROR.fullmatch(last)) is not None:
                message = {**message, "message": known[1]}
        await send(message)

    return send_short
