"""Streams over WebSockets: each answers the newest frame of its client.

    read      receives every message; of the waiting frames it keeps only the newest
    answer    takes that frame, has it answered like any picture, sends the answer, takes the next one

A stream answers one frame at a time, so answers arrive in order. If the model or the network is slower than
the camera, frames are dropped; the delay does not grow, because nothing is queued on either side.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from serving.detection.detector import Detector, Options
from serving.detection.responses import Detection, as_json, encode
from serving.detection.routing import Pin
from serving.errors import ServingError
from serving.errors.requests import BodiesFull, NotReady, Overloaded, PayloadTooLarge, StreamIdle, StreamsFull
from serving.http.problems import close_reason, problem
from serving.http.request.body import HeldBytes, options_from
from serving.http.telemetry.traces import RequestOutcome, Traces

_log = logging.getLogger("serving.http")

# Close codes: RFC 6455, 7.4.1, and its IANA registry.
GOING_AWAY, POLICY_VIOLATION, TOO_BIG, TRY_AGAIN_LATER = 1001, 1008, 1009, 1013
# Room for the two options.
_OPTIONS_BYTES = 4096
RECORD_EVERY_S = 1.0
"""Minimum time between two observations of a stream: more would store many nearly equal rows."""
_CLOSE_TIMEOUT_S = 2.0
_OK = 200


class StreamListener(Protocol):
    """Listener for stream events, for example metrics."""

    def detection(self, detection: Detection) -> None:
        """A frame was answered."""

    def frame(self, outcome: str) -> None:
        """A frame was `answered`, `dropped` or `refused`."""


@dataclass(frozen=True, kw_only=True)
class StreamLimits:
    """Limits of one stream."""

    frame_bytes: int
    frames_per_s: float
    """Maximum rate of answered frames; the others are dropped."""
    idle_s: float
    """Maximum time without a message from the client, and for the client to accept an answer."""


@dataclass(frozen=True, kw_only=True)
class StreamDependencies:
    """The objects that all streams share."""

    detector: Detector
    listener: StreamListener
    limits: StreamLimits
    held: HeldBytes
    """Counts the bytes of waiting frames together with those of request bodies."""
    traces: Traces | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    number: int
    data: bytes
    options: Options
    error: ServingError | None
    """Why the frame is not analysed; None: it is."""


class Stream:
    """One client's frames and answers."""

    def __init__(
        self,
        socket: WebSocket,
        dependencies: StreamDependencies,
        *,
        request_id: str,
        subject: str | None = None,
    ) -> None:
        """Create a stream on an accepted WebSocket; `subject` is the client id for the canary's share."""
        self._socket = socket
        self._headers: Mapping[bytes, bytes] = dict(socket.scope["headers"])
        self._subject = subject
        self._pin = Pin()
        self._dependencies = dependencies
        self._limits = dependencies.limits
        self._request_id = request_id
        self._options = Options()
        self._waiting: _Frame | None = None
        self._arrived = asyncio.Event()
        self._ending = asyncio.Event()
        self._answer_at = 0.0
        self._record_at = 0.0
        self.frames = 0
        """Frames received."""
        self.dropped = 0
        """Frames that a newer one replaced before they were analysed."""

    def end(self) -> None:
        """Accept no more frames; `run` returns when the accepted ones are answered."""
        self._ending.set()
        self._arrived.set()

    async def run(self) -> None:
        """Answer frames until `end` is called.

        Raises:
            WebSocketDisconnect: the client disconnected.
            ServingError: the client broke a limit.
        """
        reading = asyncio.create_task(self._read())
        answering = asyncio.create_task(self._answer())
        try:
            # `_answer` returns only after `end`.
            await asyncio.wait({reading, answering}, return_when=asyncio.FIRST_COMPLETED)
            await (reading if reading.done() else answering)
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                    await self._socket.close(GOING_AWAY, "the service is shutting down")
        finally:
            reading.cancel()
            answering.cancel()
            await asyncio.gather(reading, answering, return_exceptions=True)
            self._release(self._waiting)

    async def _read(self) -> None:
        """Receive messages.

        Raises:
            ServingError: the client broke a limit.
            WebSocketDisconnect: the client disconnected.
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
        """Set the options of the following frames; invalid options get a problem and change nothing."""
        if len(text) > _OPTIONS_BYTES:
            raise PayloadTooLarge(limit=_OPTIONS_BYTES)
        try:
            self._options = options_from(text)
        except ServingError as error:
            await self._send(problem(error, request_id=self._request_id))

    def _take(self, data: bytes) -> None:
        """Keep this frame and drop the waiting one."""
        if len(data) > self._limits.frame_bytes:
            raise PayloadTooLarge(limit=self._limits.frame_bytes)
        self.frames += 1
        if self._waiting is not None:
            self._release(self._waiting)
            self.dropped += 1
            self._dependencies.listener.frame("dropped")
        error: ServingError | None = None
        try:
            self._dependencies.held.take(len(data))
        except BodiesFull as full:
            data, error = b"", full
        self._waiting = _Frame(number=self.frames, data=data, options=self._options, error=error)
        self._arrived.set()

    async def _answer(self) -> None:
        """Answer the newest frame repeatedly, until the stream ends and no frame waits."""
        while frame := await self._next():
            try:
                body = await self._answered(frame)
            finally:
                self._release(frame)
            await self._send({**body, "frame": frame.number, "dropped": self.dropped})

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
        """Wait until the next frame may be answered; a newer frame may replace the waiting one meanwhile."""
        now = asyncio.get_running_loop().time()
        if self._answer_at > now:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._answer_at):
                    await self._ending.wait()
        # Counted from the scheduled time, not from now, so that a camera's jitter does not drop frames.
        self._answer_at = max(self._answer_at + 1 / self._limits.frames_per_s, now)

    async def _answered(self, frame: _Frame) -> Mapping[str, object]:
        record = time.monotonic() >= self._record_at
        # Only recorded frames are traced: all of them would be too many, as with observations.
        traces = self._dependencies.traces if record else None
        trace = traces.begin(self._headers) if traces is not None else None
        status, body = await self._result(frame, record=record)
        if traces is not None:
            outcome = RequestOutcome(method="WS", route="/stream", status=status, request_id=self._request_id)
            traces.end(trace, outcome)
        return body

    async def _result(self, frame: _Frame, *, record: bool) -> tuple[int, Mapping[str, object]]:
        """Return status and answer, or problem: one bad frame must not end the stream."""
        try:
            if frame.error is not None:
                raise frame.error
            detection = await self._dependencies.detector.detect(
                frame.data, frame.options, record=record, subject=self._subject, pin=self._pin
            )
        except Exception as error:
            if not isinstance(error, ServingError):
                _log.error("could not answer a frame", exc_info=error, extra={"request_id": self._request_id})
            self._dependencies.listener.frame("refused")
            refusal = problem(error, request_id=self._request_id)
            return refusal["status"], refusal
        self._dependencies.listener.detection(detection)
        self._dependencies.listener.frame("answered")
        # Without a face there is no observation.
        recorded = record and detection.answer is not None
        if recorded:
            self._record_at = time.monotonic() + RECORD_EVERY_S
        return _OK, {**as_json(detection), "recorded": recorded}

    async def _send(self, body: Mapping[str, object]) -> None:
        try:
            async with asyncio.timeout(self._limits.idle_s):
                await self._socket.send_text(encode(body).decode())
        except TimeoutError as error:
            raise StreamIdle(limit_s=self._limits.idle_s) from error

    async def close_with(self, error: ServingError) -> None:
        """Send the problem as a message, for programs, and as the close reason, which browsers show."""
        body = {**problem(error, request_id=self._request_id), "dropped": self.dropped}
        # Do not wait long for a client that does not read.
        with suppress(WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._socket.send_text(encode(body).decode())
                await self._socket.close(_close_code(error), close_reason(error))

    def _release(self, frame: _Frame | None) -> None:
        if frame is not None:
            self._dependencies.held.give_back(len(frame.data))


def _close_code(error: ServingError) -> int:
    if isinstance(error, PayloadTooLarge):
        return TOO_BIG
    return TRY_AGAIN_LATER if isinstance(error, Overloaded) else POLICY_VIOLATION


class Streams:
    """All open streams of a process: limits their number and ends them at shutdown; for one event loop."""

    def __init__(self, dependencies: StreamDependencies, *, max_streams: int) -> None:
        """Create an empty set of at most `max_streams` streams."""
        self._dependencies = dependencies
        self._max_streams = max_streams
        self._open: set[Stream] = set()
        self._closing = False
        self._all_closed = asyncio.Event()

    def __len__(self) -> int:
        """Number of open streams."""
        return len(self._open)

    def stream(self, socket: WebSocket, *, request_id: str, subject: str | None = None) -> Stream:
        """Create a stream on an accepted WebSocket, for `serve`; `subject` as in `Detector.detect`."""
        return Stream(socket, self._dependencies, request_id=request_id, subject=subject)

    async def serve(self, stream: Stream) -> None:
        """Answer frames until the client disconnects or breaks a limit, or the service shuts down."""
        try:
            with self._counted(stream):
                await stream.run()
        except WebSocketDisconnect:
            pass
        except ServingError as error:
            await stream.close_with(error)

    async def close(self, timeout_s: float) -> None:
        """Accept no more streams and frames, answer the accepted frames, close each stream with 1001.

        Args:
            timeout_s: frames that are not answered after this time are given up.
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
            raise NotReady(reason="the service is shutting down; open the stream at another replica")
        if len(self._open) >= self._max_streams:
            raise StreamsFull(limit=self._max_streams)
        self._open.add(stream)
        try:
            yield
        finally:
            self._open.discard(stream)
            if self._closing and not self._open:
                self._all_closed.set()
