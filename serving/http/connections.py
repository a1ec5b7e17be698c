"""The open connections of a process: how many there may be, how long a head may take, which ones give way.

A connection costs a file descriptor and memory before anybody knows who is at its other end, so these bounds
come before keys. `serving.http.http_protocol` and `serving.http.websocket_protocol` report to this.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from serving.http.limits import HeldBytes

STATE = "connections"
"""Key of the application's lifespan state under which the server's protocols find the `Connections`."""
Reason = Literal[
    "full", "made-room", "head-too-slow", "head-too-large", "malformed", "pipelined", "unread", "flood"
]
_log = logging.getLogger("serving.http")
# An attack closes thousands of connections; one line a minute for each reason says the same.
_COMPLAINT_S = 60.0
_WORDS: dict[Reason, str] = {
    "full": "refused: a request is in progress on every other one (MIEN_MAX_CONNECTIONS)",
    "made-room": "closed without a request in progress, to make room (MIEN_MAX_CONNECTIONS)",
    "head-too-slow": "closed: no complete head of a request in time (MIEN_HEAD_TIMEOUT_S)",
    "head-too-large": "closed: a head of a request was too large (MIEN_MAX_HEAD_BYTES)",
    "malformed": "closed: what was sent is not HTTP",
    "pipelined": "closed: too many requests were sent ahead of their answers",
    "unread": "closed: the answer was not read in time (MIEN_BODY_TIMEOUT_S)",
    "flood": "closed: too many frames on a WebSocket (MIEN_STREAM_FPS)",
}


class Told(Protocol):
    """Who counts what happens."""

    def connection_ended(self, reason: str) -> None:
        """The service ended one connection."""


class Connection(Protocol):
    """The server's side of one connection."""

    def head_is_late(self) -> None:
        """No complete head came in time: answer and close."""

    def give_way(self) -> None:
        """Close at once, to make room."""


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """What one connection may cost."""

    connections: int
    """Most that are open at once."""
    head_bytes: int
    head_timeout_s: float
    read_timeout_s: float
    """How long a client may leave its answer unread."""
    frame_bytes: int
    """Largest message of a WebSocket."""
    frames_per_s: float
    """Of a WebSocket, of every kind."""


class Connections:
    """All connections of this process; used within one event loop."""

    def __init__(self, limits: ConnectionLimits, *, held: HeldBytes, told: Told) -> None:
        """None is open yet; `held` counts what WebSockets have received of unfinished messages."""
        self.limits = limits
        self.held = held
        self._told = told
        self._open: set[Any] = set()
        # In the order in which they began to wait; all have the same time, so the first is due first.
        self._heads: dict[Connection, float] = {}
        self._idle: dict[Connection, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._complained: dict[Reason, float] = {}
        self._uncounted: dict[Reason, int] = {}

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def opened(self, connection: Connection) -> bool:
        """Count one more, which is to send a head now; False when there is no room for it."""
        if len(self._open) >= self.limits.connections and not self._make_room():
            self.note("full")
            return False
        self._open.add(connection)
        self.head_begun(connection)
        return True

    def head_begun(self, connection: Connection) -> None:
        """A part of a head came, or is to come; the time of one that began before goes on."""
        if connection not in self._heads and connection in self._open:
            self._idle.pop(connection, None)
            self._heads[connection] = time.monotonic() + self.limits.head_timeout_s
            if self._timer is None:
                self._look_again()

    def busy(self, connection: Connection) -> None:
        """A head is complete: the request has limits of its own."""
        self._heads.pop(connection, None)
        self._idle.pop(connection, None)

    def idle(self, connection: Connection) -> None:
        """Its requests are answered."""
        if connection in self._open:
            self._idle[connection] = None

    def taken_over(self, connection: object) -> None:
        """Count a connection that goes on as a WebSocket, in the place of the one that it was."""
        self._open.add(connection)

    def closed(self, connection: Any) -> None:
        """It is gone; also one that was never counted."""
        self._open.discard(connection)
        self.busy(connection)

    def note(self, reason: Reason) -> None:
        """The service ends a connection: count it, and say so once a minute."""
        self._told.connection_ended(reason)
        count = self._uncounted[reason] = self._uncounted.get(reason, 0) + 1
        now = time.monotonic()
        if now >= self._complained.get(reason, 0.0):
            self._complained[reason] = now + _COMPLAINT_S
            del self._uncounted[reason]
            _log.warning(
                "connections %s; %d since the last such line, %d open", _WORDS[reason], count, len(self)
            )

    def _make_room(self) -> bool:
        """Close the connection that has waited longest for a head, or else without a request."""
        connection = next(iter(self._heads or self._idle), None)
        if connection is None:
            return False
        self.closed(connection)
        self.note("made-room")
        connection.give_way()
        return True

    def _look_again(self) -> None:
        delay_s = min(1.0, self.limits.head_timeout_s / 4)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._end_late_heads)

    def _end_late_heads(self) -> None:
        now = time.monotonic()
        for connection in [key for key, due in self._heads.items() if due <= now]:
            del self._heads[connection]
            # Until it is closed it may make room.
            self._idle[connection] = None
            connection.head_is_late()
        self._timer = None
        if self._heads:
            self._look_again()
