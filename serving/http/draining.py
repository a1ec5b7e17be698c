"""SIGTERM reaches the streams before it reaches the server.

A server waits for requests, yet cuts WebSockets off at once (uvicorn: with 1012, whatever was accepted). So
while streams are open the signal is kept back until their frames are answered and each client was told that
this process goes away (1001); without streams it passes straight on. Nothing here depends on which server it
is, only on its having set a handler, and in a thread other than the main one, as in tests, nothing is done.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_log = logging.getLogger("serving.http")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Until clients have answered the good-bye: what they sent meanwhile is read, and a connection that is closed
# with unread bytes is reset, which can cost the client what was sent to it last (RFC 9293, 3.6.1).
_LINGER_S = 0.3

Handler = Callable[[int, FrameType | None], Any]


class Draining:
    """Signals on their way to the server."""

    def __init__(self, is_needed: Callable[[], bool], drain: Callable[[], Awaitable[None]]) -> None:
        """Keep signals back while `is_needed` at their coming, until `drain` is done, which must be soon."""
        self._is_needed = is_needed
        self._drain = drain
        self._handlers: dict[int, Handler] = {}
        self._kept: list[int] = []
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """For as long as the block runs; called in the event loop."""
        if threading.current_thread() is threading.main_thread():
            self._loop = asyncio.get_running_loop()
            for number in map(int, _SIGNALS):
                before = signal.getsignal(number)
                if callable(before):
                    self._handlers[number] = before
                    signal.signal(number, self._came)
        try:
            yield
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def _came(self, number: int, frame: FrameType | None) -> None:
        if self._kept or (self._loop is not None and self._is_needed()):
            self._kept.append(number)
            if len(self._kept) == 1 and self._loop is not None:
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
            _log.exception("streams cannot be ended as they should")
        finally:
            kept, self._kept = self._kept, []
            # From now on none waits: the server has its signal.
            self._is_needed = _never
            for number in kept:
                self._handlers[number](number, None)


def _never() -> bool:
    return False
