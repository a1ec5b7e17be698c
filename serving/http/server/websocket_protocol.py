"""Uvicorn's WebSocket protocol with limits for frames per second and bytes of unfinished messages.

Pings, pongs and fragments never reach the application, and each costs the event loop as much as a message.
So frames of all kinds are counted here, before they are parsed.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from serving.detection.responses import encode
from serving.errors import ServingError
from serving.errors.requests import BodiesFull, RateLimited
from serving.http.limits import RateLimit
from serving.http.problems import close_reason, problem
from serving.http.server.connections import STATE, Connections

# A client may send frames faster than they are answered, but no camera is this many times faster.
FLOOD = 10
# A message slightly above the limit reaches the application, which explains the refusal; larger ones get only
# close code 1009.
_SLACK_BYTES = 64 * 1024
# Time for the client to read the reason before the connection is closed.
_LINGER_S = 2.0
# RFC 6455, 5.2: a head has two bytes; these values of the second byte mean two or eight more bytes of length.
_LENGTH_2, _LENGTH_8, _MASKED, _MASK_BYTES = 126, 127, 0x80, 4


class FrameCounter:
    """Counts a client's frames by their heads, without reading the payload."""

    def __init__(self) -> None:
        self._head = b""
        """Received bytes of an incomplete frame head."""
        self._left = 0
        """Missing bytes of the last frame."""

    def count(self, data: bytes, *, max_count: int) -> int:
        """Return how many frame heads `data` completes; counting stops above `max_count`."""
        count, position = 0, self._left
        if position >= len(data):
            self._left -= len(data)
            return 0
        data = self._head + data if self._head else data
        while count <= max_count:
            end = _frame_end(data, position)
            if end is None:
                self._head, self._left = data[position:], 0
                return count
            count += 1
            if end >= len(data):
                self._head, self._left = b"", end - len(data)
                return count
            position = end
        return count


def _frame_end(data: bytes, start: int) -> int | None:
    """Return the position after the frame that starts at `start`; None if its head is incomplete."""
    if start + 2 > len(data):
        return None
    second = data[start + 1]
    length, head = second & ~_MASKED, 2
    if length >= _LENGTH_2:
        head = 4 if length == _LENGTH_2 else 10
        length = int.from_bytes(data[start + 2 : start + head], "big")
    head += _MASK_BYTES if second & _MASKED else 0
    return start + head + length if start + head <= len(data) else None


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._shared: Connections = app_state[STATE]
        limits = self._shared.limits
        # Compression is not offered: pictures are compressed already.
        self.conn = ServerProtocol(max_size=limits.frame_bytes + _SLACK_BYTES, logger=self.logger)
        self._counter = FrameCounter()
        self._max_burst = max(FLOOD, round(FLOOD * limits.frames_per_s))
        self._rate = RateLimit(FLOOD * limits.frames_per_s, self._max_burst, what="frames")
        self._held = 0
        self._is_ended = False
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take over the HTTP connection."""
        self._shared.taken_over(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection."""
        self._shared.closed(self)
        self._is_ended = True
        self._hold(0)
        self._stop_waiting_for_reader()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the received bytes: first the handshake, then frames."""
        if self._is_ended:
            return
        if not self.handshake_initiated:
            super().data_received(data)
            if not self.handshake_initiated:
                self._refuse_handshake()
            return
        try:
            for _ in range(self._counter.count(data, max_count=self._max_burst)):
                self._rate.take("this connection")
            super().data_received(data)
            self._hold(len(self.conn.reader.buffer) + sum(map(len, self.frames)))
        except RateLimited as error:
            self._shared.note("flood")
            self._end(error, CloseCode.POLICY_VIOLATION)
        except BodiesFull as error:
            self._end(error, CloseCode.TRY_AGAIN_LATER)

    def pause_writing(self) -> None:
        """Pause writing, and close the connection if the client does not read in time."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self._shared.limits.read_timeout_s, self._end_unread)

    def resume_writing(self) -> None:
        """Resume writing: the client has read."""
        self._stop_waiting_for_reader()
        super().resume_writing()

    def _hold(self, count: int) -> None:
        """Set the number of bytes held for unfinished messages.

        Raises:
            BodiesFull: all requests together hold more than is allowed.
        """
        if count > self._held:
            self._shared.held.take(count - self._held)
        else:
            self._shared.held.give_back(self._held - count)
        self._held = count

    def _refuse_handshake(self) -> None:
        """Answer an invalid handshake, which the library leaves without an answer."""
        self._is_ended = True
        reason = (
            "the WebSocket handshake is not valid; expected one of RFC 6455 with at most 128 header fields"
        )
        response = self.conn.reject(HTTPStatus.BAD_REQUEST, f"{reason}\n")
        self.transport.write(response.serialize())
        self.transport.close()

    def _end(self, error: ServingError, code: CloseCode) -> None:
        """Send the problem as a message and as the close reason, which browsers show; stop reading."""
        self._is_ended = True
        self.stop_keepalive()
        reason = close_reason(error)
        if self.handshake_complete and self.conn.state is OPEN:
            self.conn.send_text(encode(problem(error, request_id=self.scope["state"].get("request_id"))))
            self.conn.send_close(code, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = self.disconnected = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": int(code), "reason": reason})
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(_LINGER_S, self.transport.abort)

    def _stop_waiting_for_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _end_unread(self) -> None:
        self._shared.note("unread")
        self.transport.abort()
