"""The handshake of a WebSocket: origin check, API key, acceptance or refusal.

A browser lets any page open a WebSocket to any server and leaves the origin check to the server (for `fetch`
the browser makes that check itself, CORS). A page also cannot set headers, so it sends its key as one of the
offered subprotocols, as Kubernetes' API server takes bearer tokens
(https://kubernetes.io/docs/reference/using-api/api-concepts/#websockets). The key is never in the URL:
URLs are logged.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import Message, Receive, Scope, Send

from serving.errors import Forbidden, NotFound
from serving.http import problems
from serving.http.exchange import RequestHead

SUBPROTOCOL = "mien.v1"
"""Accepted if it is offered: a browser that offers subprotocols fails unless the server accepts one."""
KEY_PREFIX = "mien.key."
"""Prefix of the subprotocol that carries a key; never accepted, so the key is not sent back."""
SWITCHING = 101
"""Status of an accepted handshake."""
_INTERNAL_ERROR = 1011


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
