"""Uvicorn's WebSocket protocol with bounds: frames of every kind per second, bytes of unfinished messages.

Pings, pongs and fragments never reach the application, and each costs the event loop as much as a message:
they are counted here, before they are parsed.
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
from serving.errors import BodiesFull, RateLimited, ServingError
from serving.http.connections import STATE, Connections
from serving.http.limits import RateLimit
from serving.http.problems import problem

# A client may send faster than it is answered; this much faster is not a camera.
FLOOD = 10
# A message that is a little too large reaches the application, which says so; others get 1009 alone.
_SLACK_BYTES = 64 * 1024
# Until the client has read why the connection ends.
_LINGER_S = 2.0
# A close frame carries at most 123 bytes of text (RFC 6455, 5.5).
REASON_BYTES = 123
# RFC 6455, 5.2: two bytes, then by these values of the second one two or eight bytes more of length.
_LENGTH_2, _LENGTH_8, _MASKED, _MASK_BYTES = 126, 127, 0x80, 4


class FrameCounter:
    """Counts the frames in what a client sends, by their heads, without looking at what they carry."""

    def __init__(self) -> None:
        self._head = b""
        """Of a frame whose head has not come entirely."""
        self._left = 0
        """Bytes of the last frame that are to come."""

    def count(self, data: bytes, *, most: int) -> int:
        """How many heads of frames are complete with `data`; counting ends above `most`."""
        count, position = 0, self._left
        if position >= len(data):
            self._left -= len(data)
            return 0
        data = self._head + data if self._head else data
        while count <= most:
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
    """Position behind the frame that begins at `start`; None when its head is not there entirely."""
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
    """One WebSocket."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._shared: Connections = app_state[STATE]
        limits = self._shared.limits
        # Compression is not offered: pictures are compressed already.
        self.conn = ServerProtocol(max_size=limits.frame_bytes + _SLACK_BYTES, logger=self.logger)
        self._counter = FrameCounter()
        self._most = max(FLOOD, round(FLOOD * limits.frames_per_s))
        self._rate = RateLimit(FLOOD * limits.frames_per_s, self._most, what="frames")
        self._held = 0
        self._is_ended = False
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take the connection over."""
        self._shared.taken_over(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._shared.closed(self)
        self._is_ended = True
        self._hold(0)
        self._stop_waiting_for_reader()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came: first the handshake, then frames."""
        if self._is_ended:
            return
        if not self.handshake_initiated:
            super().data_received(data)
            if not self.handshake_initiated:
                self._refuse_handshake()
            return
        try:
            for _ in range(self._counter.count(data, most=self._most)):
                self._rate.take("this connection")
            super().data_received(data)
            self._hold(len(self.conn.reader.buffer) + sum(map(len, self.frames)))
        except RateLimited as error:
            self._shared.note("flood")
            self._end(error, CloseCode.POLICY_VIOLATION)
        except BodiesFull as error:
            self._end(error, CloseCode.TRY_AGAIN_LATER)

    def pause_writing(self) -> None:
        """Wait for the client to read, for a while."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self._shared.limits.read_timeout_s, self._end_unread)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self._stop_waiting_for_reader()
        super().resume_writing()

    def _hold(self, count: int) -> None:
        """Count what was received of a message that is not complete.

        Raises:
            BodiesFull: all requests together hold more than is allowed.
        """
        if count > self._held:
            self._shared.held.take(count - self._held)
        else:
            self._shared.held.give_back(self._held - count)
        self._held = count

    def _refuse_handshake(self) -> None:
        """Answer what the library reads as no handshake at all, and would never answer."""
        self._is_ended = True
        reason = (
            "the handshake of this WebSocket cannot be read; expected one of RFC 6455, at most 128 fields"
        )
        response = self.conn.reject(HTTPStatus.BAD_REQUEST, f"{reason}\n")
        self.transport.write(response.serialize())
        self.transport.close()

    def _end(self, error: ServingError, code: CloseCode) -> None:
        """Say what the matter is, twice: for programs, and where a browser shows it; read nothing more."""
        self._is_ended = True
        self.stop_keepalive()
        reason = str(error).encode()[:REASON_BYTES].decode(errors="ignore")
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
