"""What a client says before anything else: its key, its id for the request, where it comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.types import Scope

from serving.detection.responses import new_id
from serving.http.keys import Origin

# A client's own id is taken over when it cannot break a log line or a header.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_INTERESTING = frozenset(
    {
        b"authorization", b"content-encoding", b"content-length", b"expect", b"host", b"origin",
        b"traceparent", b"tracestate", b"transfer-encoding", b"x-api-key", b"x-request-id",
    }
)  # fmt: skip


class Head:
    """The head of one request or of one WebSocket handshake."""

    __slots__ = ("headers", "origin", "request_id")

    def __init__(self, scope: Scope) -> None:
        """Read it, and leave the request's id in the scope's state for whoever answers."""
        self.headers: Mapping[bytes, bytes] = {
            name: value for name, value in scope["headers"] if name in _INTERESTING
        }
        wanted = self.headers.get(b"x-request-id", b"")
        self.request_id = wanted.decode() if _REQUEST_ID.fullmatch(wanted) else new_id()
        scope.setdefault("state", {})["request_id"] = self.request_id
        server, client = scope.get("server"), scope.get("client")
        self.origin = Origin(
            server=server[0] if server and server[1] is not None else None,
            client=client[0] if client else None,
            host=self.headers.get(b"host", b"").decode("latin-1"),
        )

    @property
    def key(self) -> str | None:
        """The API key that was sent in a header of its own."""
        own = self.headers.get(b"x-api-key")
        if own is not None:
            return own.decode("latin-1")
        scheme, _, token = self.headers.get(b"authorization", b"").partition(b" ")
        return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else None
