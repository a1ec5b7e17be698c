"""A stream: frames in, answers out, always of the newest frame.

    read      takes every message as it comes; of the frames that wait it keeps the newest
    answer    takes that one, has it answered like any picture, sends the answer, takes the next

One frame of a stream is answered at a time, so answers come in order, and a model or a line that is slower
than the camera costs frames and never time: nothing piles up on either side.

All open streams of a process: how many there may be, and how they end when it does.

SIGTERM reaches the streams before it reaches the server.

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
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from serving.detection.detector import Detector, Options
from serving.detection.responses import Detection, as_json, encode
from serving.errors import (
    BodiesFull,
    NotReady,
    Overloaded,
    PayloadTooLarge,
    ServingError,
    StreamIdle,
    StreamsFull,
)
from serving.http.limits import HeldBytes
from serving.http.problems import problem
from serving.http.query import options_from
from serving.http.telemetry import Outcome, Traces
from serving.http.websocket_protocol import REASON_BYTES

_log = logging.getLogger("serving.http")

# RFC 6455, 7.4.1, and the IANA registry it founded.
GOING_AWAY, POLICY_VIOLATION, TOO_BIG, TRY_AGAIN_LATER = 1001, 1008, 1009, 1013
# Two words and a number.
_OPTIONS_BYTES = 4096
RECORD_EVERY_S = 1.0
"""Between two observations of a stream: enough to watch what the model sees, no flood of equal rows."""
_FAREWELL_S = 2.0
_OK = 200


class Told(Protocol):
    """Who counts what happens."""

    def detection(self, detection: Detection) -> None:
        """One frame was answered."""

    def frame(self, outcome: str) -> None:
        """One frame was `answered`, `dropped` or `refused`."""


@dataclass(frozen=True, kw_only=True)
class StreamLimits:
    """What one stream may cost."""

    frame_bytes: int
    frames_per_s: float
    """That are answered; more are dropped."""
    idle_s: float
    """Without a message from the client; also how long it may take to accept an answer."""


@dataclass(frozen=True, kw_only=True)
class StreamParts:
    """What all streams work with."""

    detector: Detector
    told: Told
    limits: StreamLimits
    held: HeldBytes
    """Counts the bytes of frames together with those of other requests."""
    traces: Traces | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    number: int
    data: bytes
    options: Options
    error: ServingError | None
    """Why it is not to be looked at."""


class Stream:
    """One client's frames and answers."""

    def __init__(
        self, socket: WebSocket, parts: StreamParts, *, request_id: str, subject: str | None = None
    ) -> None:
        """Take over an accepted WebSocket; `subject` is whose it is, for a canary's share."""
        self._socket = socket
        self._headers: Mapping[bytes, bytes] = dict(socket.scope["headers"])
        self._subject = subject
        self._parts = parts
        self._limits = parts.limits
        self._request_id = request_id
        self._options = Options()
        self._waiting: _Frame | None = None
        self._arrived = asyncio.Event()
        self._ending = asyncio.Event()
        self._answer_at = 0.0
        self._record_at = 0.0
        self.frames = 0
        """That came."""
        self.dropped = 0
        """That a newer one took the place of before they were looked at."""

    def end(self) -> None:
        """Take no frame more; `run` returns when those that were taken are answered."""
        self._ending.set()
        self._arrived.set()

    async def run(self) -> None:
        """Answer until the service goes down.

        Raises:
            WebSocketDisconnect: the client left.
            ServingError: it broke a rule.
        """
        reading = asyncio.create_task(self._read())
        answering = asyncio.create_task(self._answer())
        try:
            # The one that answers ends by itself only when the service goes down.
            await asyncio.wait({reading, answering}, return_when=asyncio.FIRST_COMPLETED)
            await (reading if reading.done() else answering)
            with suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL_S):
                    await self._socket.close(GOING_AWAY, "the service is going down")
        finally:
            reading.cancel()
            answering.cancel()
            await asyncio.gather(reading, answering, return_exceptions=True)
            self._let_go(self._waiting)

    async def _read(self) -> None:
        """Take messages.

        Raises:
            ServingError: the client breaks a rule.
            WebSocketDisconnect: it left.
        """
        while True:
            message = await self._message()
            text, data = message.get("text"), message.get("bytes")
            if text is not None:
                await self._take_options(text)
            elif self._ending.is_set():
                continue
            else:
                self._take(data or b"")

    async def _message(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._limits.idle_s):
                message = await self._socket.receive()
        except TimeoutError as error:
            raise StreamIdle(limit_s=self._limits.idle_s) from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        return dict(message)

    async def _take_options(self, text: str) -> None:
        """For the frames that come from now on; wrong ones change nothing."""
        if len(text) > _OPTIONS_BYTES:
            raise PayloadTooLarge(limit=_OPTIONS_BYTES)
        try:
            self._options = options_from(text)
        except ServingError as error:
            await self._send(problem(error, request_id=self._request_id))

    def _take(self, data: bytes) -> None:
        """Keep this frame and let go of the one that waits."""
        if len(data) > self._limits.frame_bytes:
            raise PayloadTooLarge(limit=self._limits.frame_bytes)
        self.frames += 1
        if self._waiting is not None:
            self._let_go(self._waiting)
            self.dropped += 1
            self._parts.told.frame("dropped")
        error: ServingError | None = None
        try:
            self._parts.held.take(len(data))
        except BodiesFull as full:
            data, error = b"", full
        self._waiting = _Frame(number=self.frames, data=data, options=self._options, error=error)
        self._arrived.set()

    async def _answer(self) -> None:
        """Answer the newest frame, again and again, until the stream is to end and none waits."""
        while frame := await self._next():
            try:
                body = await self._answered(frame)
            finally:
                self._let_go(frame)
            await self._send(body | {"frame": frame.number, "dropped": self.dropped})

    async def _next(self) -> _Frame | None:
        while self._waiting is None:
            if self._ending.is_set():
                return None
            self._arrived.clear()
            await self._arrived.wait()
        await self._pause()
        frame, self._waiting = self._waiting, None
        return frame

    async def _pause(self) -> None:
        """Until the next frame may be answered; the one that waits may give way to a newer one meanwhile."""
        now = asyncio.get_running_loop().time()
        if self._answer_at > now:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._answer_at):
                    await self._ending.wait()
        # From when it should have been, so that a camera's jitter costs no frames.
        self._answer_at = max(self._answer_at + 1 / self._limits.frames_per_s, now)

    async def _answered(self, frame: _Frame) -> dict[str, Any]:
        record = time.monotonic() >= self._record_at
        # Traces of all frames would be as much of a flood as their rows.
        traces = self._parts.traces if record else None
        trace = traces.begin(self._headers) if traces is not None else None
        body = await self._result(frame, record=record)
        if traces is not None:
            status = int(body.get("status", _OK))
            outcome = Outcome(method="WS", route="/stream", status=status, request_id=self._request_id)
            traces.end(trace, outcome)
        return body

    async def _result(self, frame: _Frame, *, record: bool) -> dict[str, Any]:
        """The answer, or the problem: one bad frame must not end the stream."""
        try:
            if frame.error is not None:
                raise frame.error
            detection = await self._parts.detector.detect(
                frame.data, frame.options, record=record, subject=self._subject
            )
        except Exception as error:
            if not isinstance(error, ServingError):
                _log.error("a frame failed", exc_info=error, extra={"request_id": self._request_id})
            self._parts.told.frame("refused")
            return problem(error, request_id=self._request_id)
        self._parts.told.detection(detection)
        self._parts.told.frame("answered")
        # Where there was nothing to look at, there is nothing to keep either.
        recorded = record and detection.answer is not None
        if recorded:
            self._record_at = time.monotonic() + RECORD_EVERY_S
        return as_json(detection) | {"recorded": recorded}

    async def _send(self, body: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._limits.idle_s):
                await self._socket.send_text(encode(body).decode())
        except TimeoutError as error:
            raise StreamIdle(limit_s=self._limits.idle_s) from error

    async def break_off(self, error: ServingError) -> None:
        """Say what the matter is, twice: for programs, and where a browser shows it."""
        body = problem(error, request_id=self._request_id) | {"dropped": self.dropped}
        reason = str(error).encode()[:REASON_BYTES].decode(errors="ignore")
        # A client that reads nothing has no use for a longer farewell.
        with suppress(WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await self._socket.send_text(encode(body).decode())
                await self._socket.close(_close_code(error), reason)

    def _let_go(self, frame: _Frame | None) -> None:
        if frame is not None:
            self._parts.held.give_back(len(frame.data))


def _close_code(error: ServingError) -> int:
    if isinstance(error, PayloadTooLarge):
        return TOO_BIG
    return TRY_AGAIN_LATER if isinstance(error, Overloaded) else POLICY_VIOLATION


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
