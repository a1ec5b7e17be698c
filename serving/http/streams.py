"""All open streams of a process: how many there may be, and how they end when it does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from starlette.websockets import WebSocket, WebSocketDisconnect

from serving.errors import NotReady, ServingError, StreamsFull
from serving.http.frames import Stream, StreamParts


class Streams:
    """All streams of this process; used within one event loop."""

    def __init__(self, parts: StreamParts, *, most: int) -> None:
        """None is open yet; `most` may be at once."""
        self._parts = parts
        self._most = most
        self._open: set[Stream] = set()
        self._closing = False
        self._all_closed = asyncio.Event()

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def stream(self, socket: WebSocket, *, request_id: str, subject: str | None = None) -> Stream:
        """A stream over an accepted WebSocket, to be served; `subject` as in `Detector.detect`."""
        return Stream(socket, self._parts, request_id=request_id, subject=subject)

    async def serve(self, stream: Stream) -> None:
        """Answer until the client leaves, breaks a rule, or the service goes down."""
        try:
            with self._counted(stream):
                await stream.run()
        except WebSocketDisconnect:
            pass
        except ServingError as error:
            await stream.break_off(error)

    async def close(self, timeout_s: float) -> None:
        """Take no stream and no frame more, answer the frames that were taken, say good-bye to each client.

        Args:
            timeout_s: after which what is not answered is given up.
        """
        self._closing = True
        for stream in self._open:
            stream.end()
        if self._open:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._all_closed.wait()

    @contextmanager
    def _counted(self, stream: Stream) -> Iterator[None]:
        if self._closing:
            raise NotReady(reason="the service is going down; open the stream at another replica")
        if len(self._open) >= self._most:
            raise StreamsFull(limit=self._most)
        self._open.add(stream)
        try:
            yield
        finally:
            self._open.discard(stream)
            if self._closing and not self._open:
                self._all_closed.set()
