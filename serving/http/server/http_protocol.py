"""Uvicorn's HTTP protocol with limits for request heads, pipelined requests and unread responses.

    uvicorn serving.main:app --http serving.main:http --ws serving.main:websocket

Uvicorn leaves these limits to a proxy; here they apply before access is checked. An `Upgrade` header that
does not ask for a WebSocket is ignored, which RFC 9110, 7.8 allows: Java's HTTP client and `curl --http2`
offer `h2c` with every first request, and the parser would stop before its body.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.detection.responses import new_id
from serving.errors import ServingError
from serving.errors.requests import BadRequest, ConnectionsFull, HeadTooLarge, HeadTooSlow, MethodNotAllowed
from serving.http import problems
from serving.http.server.connections import STATE, Connections, EndReason

# How long data from a refused client is read and discarded, so that it can read the response instead of a
# connection reset (RFC 9112, 9.6).
_LINGER_S = 2.0
# Browsers do not pipeline (RFC 9112, 9.3.2), benchmarks up to 16.
_MAX_PIPELINED = 32
# Colon, blank and line end of a header field, bytes.
_FIELD_OVERHEAD = 4
_UPGRADE_HEADERS = frozenset({b"upgrade", b"http2-settings"})


class HttpProtocol(HttpToolsProtocol):
    """One HTTP/1.1 connection."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._shared: Connections = app_state[STATE]
        self._head_bytes = self._shared.limits.head_bytes
        self._head_received = 0
        """Bytes since the last complete head, body part or message: of a head or of trailer fields."""
        self._refusal: tuple[EndReason, ServingError] | None = None
        self._is_ended = False
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Accept the connection if the limit allows it."""
        super().connection_made(transport)
        if not self._shared.opened(self):
            self._is_ended = True
            transport.write(_answer(ConnectionsFull(limit=self._shared.limits.connections)))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection."""
        self._shared.closed(self)
        self._is_ended = True
        self._stop_waiting_for_reader()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the received bytes."""
        if self._is_ended:
            return
        self._unset_keepalive_if_required()
        self._head_received += len(data)
        cycle = self.cycle
        had = len(cycle.body) if cycle is not None else 0
        while data:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as pause:
                rest = data[pause.args[0] :]
            except httptools.HttpParserError:
                error = BadRequest("the request is not HTTP/1.1; expected a request line and header fields")
                self._refuse(*(self._refusal or ("malformed", error)))
                return
            if self._is_handshake():
                self.handle_websocket_upgrade()
                return
            data = self._head_without_upgrade() + rest
        if self._head_received and cycle is not None and len(cycle.body) > had:
            # A part of a body arrived.
            self._head_received = 0
        if self._head_received > self._head_bytes:
            self._refuse("head-too-large", HeadTooLarge(limit=self._head_bytes))
        elif self._head_received and (self.cycle is None or self.cycle.response_complete):
            self._shared.head_begun(self)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the WebSocket protocol."""
        # Uvicorn creates the WebSocket protocol, which adds itself to the connections.
        self._shared.closed(self)
        super().handle_websocket_upgrade()

    def on_headers_complete(self) -> None:
        """Start to answer a request, unless its head is refused."""
        if self._head_received > self._head_bytes:
            self._check_size()
        self._head_received = 0
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
        # Header fields from now on are trailers: they are not passed to the application.
        self.headers = []

    def on_message_complete(self) -> None:
        """Finish the body of a request."""
        self._head_received = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Prepare for the next request."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self._shared.idle(self)
            if self.transport.is_closing() and self.transport.get_write_buffer_size():
                self._wait_for_reader()

    def pause_writing(self) -> None:
        """Pause writing, and close the connection if the client does not read in time."""
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """Resume writing: the client has read."""
        self._stop_waiting_for_reader()
        super().resume_writing()

    def head_is_late(self) -> None:
        """Answer an incomplete head; close a connection without any bytes, as browsers open in advance."""
        if self._head_received:
            self._refuse("head-too-slow", HeadTooSlow(limit_s=self._shared.limits.head_timeout_s))
        else:
            self.transport.close()

    def close_now(self) -> None:
        """Close immediately."""
        self.transport.abort()

    def _is_handshake(self) -> bool:
        """Whether this is a WebSocket handshake: a GET without a body, with no other request in progress."""
        names = {name for name, _ in self.scope["headers"]}
        return (
            self.scope["method"] == "GET"
            and self.parser.get_http_version() == "1.1"
            and self._should_upgrade()
            and not names & {b"content-length", b"transfer-encoding"}
            and self.url.isascii()
            and (self.cycle is None or self.cycle.response_complete)
        )

    def _head_without_upgrade(self) -> bytes:
        """Return the head without the upgrade, for a new parser: the old one has stopped."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.scope["method"].encode(), self.url, version)]
        lines += [b"%s: %s" % field for field in self.scope["headers"] if field[0] not in _UPGRADE_HEADERS]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return b"\r\n".join([*lines, b"", b""])

    def _check_size(self) -> None:
        """Check the size of a head by its fields: the bytes received may include a part of the body."""
        size = len(self.url) + sum(len(name) + len(value) + _FIELD_OVERHEAD for name, value in self.headers)
        if size > self._head_bytes:
            self._stop_parsing("head-too-large", HeadTooLarge(limit=self._head_bytes))

    def _stop_parsing(self, reason: EndReason, error: ServingError) -> None:
        """Stop the parser from one of its callbacks; it raises its own error, so this one is stored."""
        self._refusal = reason, error
        raise error

    def _refuse(self, reason: EndReason, error: ServingError) -> None:
        """Send an error response and close; while another response is being sent, only close."""
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
    """Encode an error response that does not come from the application."""
    request_id = new_id()
    response = problems.response(error, request_id=request_id)
    headers = [
        *response.raw_headers,
        *problems.ADDED_HEADERS,
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
    ]
    lines = [b"%s: %s\r\n" % field for field in headers]
    return b"".join([STATUS_LINE[response.status_code], *lines, b"\r\n", bytes(response.body)])
