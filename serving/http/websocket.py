"""The handshake of a WebSocket: whose page asks, which key it brings, and how it is answered or refused.

A browser lets every page open a WebSocket to every server, and shows that page's origin only to the server:
the check that it makes for `fetch` (CORS) is this side's to make. Nor can a page set a header of its own, so
its key comes as one of the subprotocols that it offers, as Kubernetes' API server takes bearer tokens
(https://kubernetes.io/docs/reference/using-api/api-concepts/#websockets). Never in the URL, which is logged.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import Message, Receive, Scope, Send

from serving.errors import Forbidden, NotFound
from serving.http import problems
from serving.http.exchange import Head

SUBPROTOCOL = "mien.v1"
"""Chosen when it is offered: a browser that offers any breaks off unless one is chosen."""
KEY_PREFIX = "mien.key."
"""Begins the subprotocol that carries a key; never chosen, so it is not sent back."""
SWITCHING = 101
"""Status of a handshake that was accepted."""
_INTERNAL_ERROR = 1011


class Handshake:
    """One WebSocket from its handshake to its end."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun = time.perf_counter()
        self.head = Head(scope)
        self.status = 0
        """101 or that of the refusal; 0 before either."""
        self.close_code: int | None = None
        """With which either side ended the connection."""
        self.answered_at = self.begun
        """When the handshake was accepted or refused (`time.perf_counter`)."""
        self._scope, self._receive, self._send = scope, receive, send
        self._offered: list[str] = scope.get("subprotocols", [])

    @property
    def key(self) -> str | None:
        """From a header, as programs send it, or from a subprotocol, as pages have to."""
        own = self.head.key
        if own is not None:
            return own
        keys = [item.removeprefix(KEY_PREFIX) for item in self._offered if item.startswith(KEY_PREFIX)]
        return keys[0] if keys else None

    def check_page(self, allowed: Collection[str]) -> None:
        """Let programs pass, this service's own pages, and those of the allowed origins.

        Raises:
            Forbidden: another page opens the connection.
        """
        origin = self.head.headers.get(b"origin", b"").decode("latin-1")
        if not origin or origin in allowed or "*" in allowed:
            return
        if _authority(origin) != self.head.origin.host.lower():
            raise Forbidden(
                f"pages of {origin[:100]!r} may not open a stream; name the origin in MIEN_CORS_ORIGINS"
            )

    async def receive(self) -> Message:
        """The next message of the client."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect" and self.close_code is None:
            self.close_code = message.get("code")
        return message

    async def send(self, message: Message) -> None:
        """Pass a message of the application on."""
        match message["type"]:
            case "websocket.accept":
                message = self._accepted(message)
            case "websocket.close" if self.status == 0:
                # The router's way to say that there is no such path.
                await self.refuse(NotFound("there is no such WebSocket; see docs/serving.md"))
                return
            case "websocket.close" if self.close_code is None:
                self.close_code = message.get("code")
        await self._send(message)

    async def refuse(self, error: Exception) -> None:
        """Answer the handshake with a problem; once it is accepted, break the connection off."""
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
    """Host and port of an origin, as `Host` has them: browsers leave out the scheme's own port in both."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") else None
