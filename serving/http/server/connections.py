"""The open connections of a process: their maximum number, the time limit for heads, which ones to close.

A connection uses a file descriptor and memory before its client has sent a key, so these limits apply
before access is checked. The protocols beside this module report here.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal, Protocol

from serving.http.request.body import HeldBytes

STATE = "connections"
"""Key of the application's lifespan state under which the server's protocols find the `Connections`."""
EndReason = Literal[
    "full", "made-room", "head-too-slow", "head-too-large", "malformed", "pipelined", "unread", "flood"
]
_log = logging.getLogger("serving.http")
# During an attack thousands of connections are closed; one log line a minute for each reason is enough.
_LOG_EVERY_S = 60.0
_REASON_TEXTS: dict[EndReason, str] = {
    "full": "refused: all others have a request in progress (MIEN_MAX_CONNECTIONS)",
    "made-room": "closed while idle, to make room for new ones (MIEN_MAX_CONNECTIONS)",
    "head-too-slow": "closed: the request head did not arrive in time (MIEN_HEAD_TIMEOUT_S)",
    "head-too-large": "closed: the request head was too large (MIEN_MAX_HEAD_BYTES)",
    "malformed": "closed: the client did not send HTTP",
    "pipelined": "closed: the client pipelined too many requests",
    "unread": "closed: the client did not read the response in time (MIEN_BODY_TIMEOUT_S)",
    "flood": "closed: the client sent too many WebSocket frames (MIEN_STREAM_FPS)",
}


class ConnectionListener(Protocol):
    """Listener for connection events, for example metrics."""

    def connection_ended(self, reason: str) -> None:
        """The service closed a connection."""


class Connection(Protocol):
    """The server's side of one connection."""

    def head_is_late(self) -> None:
        """The request head did not arrive in time: answer and close."""

    def close_now(self) -> None:
        """Close immediately, to make room for another connection."""


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """Limits of the connections."""

    connections: int
    """Maximum number of open connections."""
    head_bytes: int
    head_timeout_s: float
    read_timeout_s: float
    """How long a client may leave its response unread."""
    frame_bytes: int
    """Maximum size of a WebSocket message."""
    frames_per_s: float
    """Maximum rate of WebSocket frames, of all kinds."""


class Connections:
    """All connections of this process; used within one event loop."""

    def __init__(self, limits: ConnectionLimits, *, held: HeldBytes, listener: ConnectionListener) -> None:
        """Create an empty set of connections; `held` counts the bytes of unfinished WebSocket messages."""
        self.limits = limits
        self.held = held
        self._listener = listener
        self._open: set[Any] = set()
        # Connection → deadline of its head, in order of arrival: the first one expires first.
        self._heads: dict[Connection, float] = {}
        self._idle: dict[Connection, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next_log_at: dict[EndReason, float] = {}
        self._unlogged: dict[EndReason, int] = {}

    def __len__(self) -> int:
        """Number of open connections."""
        return len(self._open)

    def opened(self, connection: Connection) -> bool:
        """Add a new connection, which must send a head next; False if the limit is reached."""
        if len(self._open) >= self.limits.connections and not self._make_room():
            self.note("full")
            return False
        self._open.add(connection)
        self.head_begun(connection)
        return True

    def head_begun(self, connection: Connection) -> None:
        """Start the time limit of a connection's head, unless it is already running."""
        if connection not in self._heads and connection in self._open:
            self._idle.pop(connection, None)
            self._heads[connection] = time.monotonic() + self.limits.head_timeout_s
            if self._timer is None:
                self._schedule_check()

    def busy(self, connection: Connection) -> None:
        """End the time limit of a head: it is complete, and the request has its own limits."""
        self._heads.pop(connection, None)
        self._idle.pop(connection, None)

    def idle(self, connection: Connection) -> None:
        """Mark a connection as idle: all its requests are answered."""
        if connection in self._open:
            self._idle[connection] = None

    def taken_over(self, connection: object) -> None:
        """Add a connection that became a WebSocket, in place of the HTTP connection."""
        self._open.add(connection)

    def closed(self, connection: Any) -> None:
        """Remove a closed connection; one that was never added is ignored."""
        self._open.discard(connection)
        self.busy(connection)

    def note(self, reason: EndReason) -> None:
        """Count a connection that the service closes; log it at most once a minute for each reason."""
        self._listener.connection_ended(reason)
        count = self._unlogged[reason] = self._unlogged.get(reason, 0) + 1
        now = time.monotonic()
        if now >= self._next_log_at.get(reason, 0.0):
            self._next_log_at[reason] = now + _LOG_EVERY_S
            del self._unlogged[reason]
            _log.warning(
                "connections %s; %d since the last line for this reason, %d open",
                _REASON_TEXTS[reason],
                count,
                len(self),
            )

    def _make_room(self) -> bool:
        """Close the connection that waits longest for its head, else the one that is idle longest."""
        connection = next(iter(self._heads or self._idle), None)
        if connection is None:
            return False
        self.closed(connection)
        self.note("made-room")
        connection.close_now()
        return True

    def _schedule_check(self) -> None:
        delay_s = min(1.0, self.limits.head_timeout_s / 4)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._end_late_heads)

    def _end_late_heads(self) -> None:
        now = time.monotonic()
        for connection in [key for key, due in self._heads.items() if due <= now]:
            del self._heads[connection]
            # It can be closed to make room until the client has read the response.
            self._idle[connection] = None
            connection.head_is_late()
        self._timer = None
        if self._heads:
            self._schedule_check()


_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Time for clients to answer the close frame. What they send meanwhile is read: closing a connection with
# unread bytes resets it, and the client may then lose the last bytes sent to it (RFC 9293, 3.6.1).
_LINGER_S = 0.3

Handler = Callable[[int, FrameType | None], Any]


class Draining:
    """Delays SIGTERM and SIGINT until the open streams have ended.

    A server lets requests finish but closes WebSockets at once (uvicorn: with 1012). While streams are open,
    the signal is held back until their frames are answered and each client got close code 1001 (going away);
    without streams it passes directly to the server. This works with any server that sets a signal handler.
    Outside the main thread, as in tests, nothing is installed.
    """

    def __init__(self, is_needed: Callable[[], bool], drain: Callable[[], Awaitable[None]]) -> None:
        """Hold a signal back if `is_needed` returns true, until `drain` is done; `drain` must end soon."""
        self._is_needed = is_needed
        self._drain = drain
        self._handlers: dict[int, Handler] = {}
        self._held_back: list[int] = []
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Install the signal handlers for the duration of the block; call this in the event loop."""
        if threading.current_thread() is threading.main_thread():
            self._loop = asyncio.get_running_loop()
            for number in map(int, _SIGNALS):
                before = signal.getsignal(number)
                if callable(before):
                    self._handlers[number] = before
                    signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._held_back or (self._loop is not None and self._is_needed()):
            self._held_back.append(number)
            if len(self._held_back) == 1 and self._loop is not None:
                self._loop.call_soon_threadsafe(self._begin)
        else:
            self._handlers[number](number, frame)

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._finish())

    async def _finish(self) -> None:
        try:
            await self._drain()
            await asyncio.sleep(_LINGER_S)
        except Exception:
            _log.exception("could not end the streams in order")
        finally:
            held_back, self._held_back = self._held_back, []
            # Later signals go directly to the server.
            self._is_needed = lambda: False
            for number in held_back:
                self._handlers[number](number, None)
