"""Uvicorn's HTTP protocol with bounds: bytes and seconds of heads, pipelined requests, unread answers.

    uvicorn serving.main:app --http serving.main:http --ws serving.main:websocket

What uvicorn leaves to a proxy is bounded here, before a key is looked at. And an offer to change the protocol
(`Upgrade`) that is not one for a WebSocket is ignored, which RFC 9110, 7.8 allows: Java's HTTP client and
`curl --http2` offer `h2c` with every first request, and the parser would stop before its body.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.detection.responses import new_id
from serving.errors import (
    BadRequest,
    ConnectionsFull,
    HeadTooLarge,
    HeadTooSlow,
    MethodNotAllowed,
    ServingError,
)
from serving.http import problems
from serving.http.connections import STATE, Connections, Reason
from serving.http.exchange import ADDED_HEADERS

# How long what a refused client still sends is read and thrown away, so that it gets to read the answer
# instead of a reset connection (RFC 9112, 9.6).
_LINGER_S = 2.0
# Browsers send none ahead (RFC 9112, 9.3.2), benchmarks up to 16.
_MAX_PIPELINED = 32
# Name, colon, blank, value, line end.
_FIELD_OVERHEAD = 4
_OFFERS = frozenset({b"upgrade", b"http2-settings"})


class HttpProtocol(HttpToolsProtocol):
    """One HTTP/1.1 connection."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._shared: Connections = app_state[STATE]
        self._head_bytes = self._shared.limits.head_bytes
        self._silent = 0
        """Bytes since a head, a part of a body or a message was complete: of a head or of trailer fields."""
        self._refusal: tuple[Reason, ServingError] | None = None
        self._is_ended = False
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take the connection if there is room."""
        super().connection_made(transport)
        if not self._shared.opened(self):
            self._is_ended = True
            transport.write(_answer(ConnectionsFull(limit=self._shared.limits.connections)))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._shared.closed(self)
        self._is_ended = True
        self._stop_waiting_for_reader()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        if self._is_ended:
            return
        self._unset_keepalive_if_required()
        self._silent += len(data)
        cycle = self.cycle
        had = len(cycle.body) if cycle is not None else 0
        while data:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as pause:
                rest = data[pause.args[0] :]
            except httptools.HttpParserError:
                what = BadRequest("what was sent is not HTTP/1.1; expected a request line and header fields")
                self._refuse(*(self._refusal or ("malformed", what)))
                return
            if self._is_handshake():
                self.handle_websocket_upgrade()
                return
            data = self._without_offer() + rest
        if self._silent and cycle is not None and len(cycle.body) > had:
            # A part of a body came.
            self._silent = 0
        if self._silent > self._head_bytes:
            self._refuse("head-too-large", HeadTooLarge(limit=self._head_bytes))
        elif self._silent and (self.cycle is None or self.cycle.response_complete):
            self._shared.head_begun(self)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over."""
        # Uvicorn makes the WebSocket's protocol, which counts itself.
        self._shared.closed(self)
        super().handle_websocket_upgrade()

    def on_headers_complete(self) -> None:
        """Begin to answer a request, unless its head is refused."""
        if self._silent > self._head_bytes:
            self._check_size()
        self._silent = 0
        if self.parser.should_upgrade():
            # The parser stops after the head; `data_received` goes on.
            self.scope["method"] = self.parser.get_method().decode("ascii")
            if self.scope["method"] == "CONNECT":
                refusal = MethodNotAllowed(got="CONNECT", allowed="GET, POST or DELETE")
                self._stop_parsing("malformed", refusal)
            return
        if len(self.pipeline) >= _MAX_PIPELINED:
            self._stop_parsing("pipelined", BadRequest(f"more than {_MAX_PIPELINED} requests wait here"))
        self._shared.busy(self)
        super().on_headers_complete()
        # What comes as a header field from now on is a trailer's: not the application's, and not kept.
        self.headers = []

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._silent = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self._shared.idle(self)
            if self.transport.is_closing() and self.transport.get_write_buffer_size():
                self._wait_for_reader()

    def pause_writing(self) -> None:
        """Wait for the client to read, for a while."""
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self._stop_waiting_for_reader()
        super().resume_writing()

    def head_is_late(self) -> None:
        """Answer half a head; a connection without a byte, as browsers open them ahead, is just closed."""
        if self._silent:
            self._refuse("head-too-slow", HeadTooSlow(limit_s=self._shared.limits.head_timeout_s))
        else:
            self.transport.close()

    def give_way(self) -> None:
        """Close at once."""
        self.transport.abort()

    def _is_handshake(self) -> bool:
        """Whether the offer is one for a WebSocket that can be taken: alone, without a body."""
        names = {name for name, _ in self.scope["headers"]}
        return (
            self.scope["method"] == "GET"
            and self.parser.get_http_version() == "1.1"
            and self._should_upgrade()
            and not names & {b"content-length", b"transfer-encoding"}
            and self.url.isascii()
            and (self.cycle is None or self.cycle.response_complete)
        )

    def _without_offer(self) -> bytes:
        """The head again without the offer, for a new parser: the old one has ended."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.scope["method"].encode(), self.url, version)]
        lines += [b"%s: %s" % field for field in self.scope["headers"] if field[0] not in _OFFERS]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return b"\r\n".join([*lines, b"", b""])

    def _check_size(self) -> None:
        """Sum a head up: what came in one piece may hold a body too."""
        size = len(self.url) + sum(len(name) + len(value) + _FIELD_OVERHEAD for name, value in self.headers)
        if size > self._head_bytes:
            self._stop_parsing("head-too-large", HeadTooLarge(limit=self._head_bytes))

    def _stop_parsing(self, reason: Reason, error: ServingError) -> None:
        """Called by the parser, which ends with whatever is raised and says only that it was ended."""
        self._refusal = reason, error
        raise error

    def _refuse(self, reason: Reason, error: ServingError) -> None:
        """Answer and close; where answers are on their way nothing can be put between them."""
        self._shared.note(reason)
        self._is_ended = True
        waiting = self.cycle is not None and not self.cycle.response_complete
        if waiting and (self.cycle.response_started or self.pipeline):
            self.transport.abort()
            return
        if waiting:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._shared.idle(self)
        self.transport.write(_answer(error))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def _wait_for_reader(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(self._shared.limits.read_timeout_s, self._end_unread)

    def _stop_waiting_for_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _end_unread(self) -> None:
        self._shared.note("unread")
        self.transport.abort()


def _answer(error: ServingError) -> bytes:
    """An answer that no application gives."""
    request_id = new_id()
    response = problems.response(error, request_id=request_id)
    headers = [
        *response.raw_headers,
        *ADDED_HEADERS,
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
    ]
    lines = [b"%s: %s\r\n" % field for field in headers]
    return b"".join([STATUS_LINE[response.status_code], *lines, b"\r\n", bytes(response.body)])
