"""One HTTP exchange: the request head, the body under its byte and time limits, the response's headers.

Body bytes are counted as they arrive from the socket, before the application reads them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from starlette.types import Message, Receive, Scope, Send

from serving.detection.responses import new_id
from serving.errors import BodyIncomplete, BodyTooSlow, PayloadTooLarge
from serving.http.auth import Origin
from serving.http.body import FORM_OVERHEAD_BYTES, Decompressor, is_compressed
from serving.http.limits import HeldBytes, RateLimiter
from serving.inference.model_slot import LiveModel
from serving.protocols.tensors import body_bytes
from serving.settings import Settings

# A client's own request id is used if it cannot break a log line or a header.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_INTERESTING = frozenset(
    {
        b"authorization", b"content-encoding", b"content-length", b"expect", b"host", b"origin",
        b"traceparent", b"tracestate", b"transfer-encoding", b"x-api-key", b"x-request-id",
    }
)  # fmt: skip


class RequestHead:
    """The head of one request or WebSocket handshake: API key, request id, origin."""

    __slots__ = ("headers", "origin", "request_id")

    def __init__(self, scope: Scope) -> None:
        """Read the head and store the request id in the scope's state."""
        self.headers: Mapping[bytes, bytes] = {
            name: value for name, value in scope["headers"] if name in _INTERESTING
        }
        requested_id = self.headers.get(b"x-request-id", b"")
        self.request_id = requested_id.decode() if _REQUEST_ID.fullmatch(requested_id) else new_id()
        scope.setdefault("state", {})["request_id"] = self.request_id
        server, client = scope.get("server"), scope.get("client")
        self.origin = Origin(
            server=server[0] if server and server[1] is not None else None,
            client=client[0] if client else None,
            host=self.headers.get(b"host", b"").decode("latin-1"),
        )

    @property
    def key(self) -> str | None:
        """The API key from `X-API-Key` or `Authorization: Bearer`; None without one."""
        key = self.headers.get(b"x-api-key")
        if key is not None:
            return key.decode("latin-1")
        scheme, _, token = self.headers.get(b"authorization", b"").partition(b" ")
        return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else None


# How long the rest of a refused body is read and discarded, so that the client can read the response
# instead of a connection reset (RFC 9112, 9.6).
_LINGER_S = 2.0
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
# For responses without their own policy: JSON loads nothing, so nothing may be loaded.
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
ADDED_HEADERS = (*_SECURITY_HEADERS, _POLICY)
"""Headers of every response; a response's own header of the same name has precedence."""
_ADDED_NAMES = frozenset(name for name, _ in ADDED_HEADERS)


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """Limits of one request."""

    body_bytes: Callable[[str], int]
    """Path → maximum number of bytes of the body."""
    body_timeout_s: float
    held: HeldBytes
    """Shared by all requests."""
    rate: RateLimiter | None
    """For requests to endpoints that check access; None: unlimited."""


class Exchange:
    """One request and its response: counts the bytes received and completes the headers sent."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: RequestLimits) -> None:
        self.started_at = time.perf_counter()
        """Arrival of the request (`time.perf_counter`), s."""
        self.status = 0
        """Status of the response; 0 before it starts."""
        self.received = 0
        """Bytes of the body received up to now."""
        self._receive, self._send = receive, send
        self._limit = limits.body_bytes(scope["path"])
        self._shared = limits.held
        self._held = 0
        self._timeout_s = limits.body_timeout_s
        self._deadline: float | None = None
        self.head = RequestHead(scope)
        self._headers = self.head.headers
        # RFC 9112, 6.3: a request without these two has no body.
        self._complete = not {b"content-length", b"transfer-encoding"} & self._headers.keys()
        self._started_reading = False
        self.receive: Receive = self._receive_plain
        """Receives the next part of the body, decompressed; raises the errors of both receive functions."""
        self._decompressor: Decompressor | None = None
        self._is_decompressed = False

    def check_announced(self) -> None:
        """Check the announced length and encoding before reading the body.

        Raises:
            PayloadTooLarge: the length is above the limit.
            EncodingUnsupported: the body is compressed with an unsupported encoding.
        """
        encoding = self._headers.get(b"content-encoding", b"").decode("latin-1")
        if encoding and not self._complete and is_compressed(encoding):
            self._decompressor = Decompressor(encoding, limit=self._limit)
            self.receive = self._receive_decompressed
        announced = self._headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._limit:
            raise PayloadTooLarge(limit=self._limit)

    async def _receive_plain(self) -> Message:
        """Receive the next part of the body as it was sent.

        Raises:
            PayloadTooLarge: the body is larger than allowed.
            BodiesFull: all requests together hold more than is allowed.
            BodyTooSlow: the body did not arrive in time.
            BodyIncomplete: the client disconnected.
        """
        if self._complete and self._started_reading:
            return await self._receive()
        message = await self._receive_in_time()
        if message["type"] == "http.disconnect" and not self._complete:
            self._complete = True
            raise BodyIncomplete(got=self.received)
        count = len(message.get("body", b""))
        self.received += count
        self._complete = self._complete or not message.get("more_body", False)
        if self.received > self._limit:
            raise PayloadTooLarge(limit=self._limit)
        self._hold(count)
        return message

    async def _receive_decompressed(self) -> Message:
        """Receive the next decompressed part of a compressed body.

        Raises:
            BadRequest: the compressed data is damaged or incomplete.
            ServingError: an error of `_receive_plain`.
        """
        decompressor = self._decompressor
        if decompressor is None or self._is_decompressed:
            return await self._receive()
        while not decompressor.has_more and not self._complete:
            decompressor.feed((await self._receive_plain()).get("body", b""))
        data = decompressor.step()
        self._hold(len(data))
        self._is_decompressed = self._complete and not decompressor.has_more
        if self._is_decompressed:
            decompressor.finish()
        # Let other tasks run between two steps.
        await asyncio.sleep(0)
        return {"type": "http.request", "body": data, "more_body": not self._is_decompressed}

    def _hold(self, count: int) -> None:
        self._shared.take(count)
        self._held += count

    def close(self) -> None:
        """Release the bytes of the body; call this when the request is done."""
        self._shared.give_back(self._held)
        self._held = 0

    async def _receive_in_time(self) -> Message:
        self._started_reading = True
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.time() + self._timeout_s
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._receive()
        except TimeoutError as error:
            raise BodyTooSlow(got=self.received, limit_s=self._timeout_s) from error

    async def send(self, message: Message) -> None:
        """Send a part of the response, with the headers that all responses have."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._with_added_headers(message.get("headers", []))}
        elif not message.get("more_body", False) and not self._complete:
            await self._send({**message, "more_body": True})
            await self._discard_rest()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    def _with_added_headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        given = {name for name, _ in headers} & _ADDED_NAMES
        added = [pair for pair in ADDED_HEADERS if pair[0] not in given] if given else [*ADDED_HEADERS]
        added.append((b"x-request-id", self.head.request_id.encode()))
        if not self._complete:
            # Closing is cheaper than reading the rest of the body to keep the connection.
            added.append((b"connection", b"close"))
        return [*headers, *added]

    async def _discard_rest(self) -> None:
        # A client that waits for `100 Continue` sends no body once it has the response.
        if b"expect" in self._headers and not self._started_reading:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return


# Other JSON bodies hold two short texts.
_OTHER_BYTES = 64 * 1024


class BodyLimits:
    """Maximum size of a request body, by path."""

    def __init__(self, settings: Settings, live: Callable[[], LiveModel | None]) -> None:
        """Read the settings; `live` returns the live model, which decides the size of tensors."""
        self._settings = settings
        self._live = live
        picture = settings.max_bytes + FORM_OVERHEAD_BYTES
        self._fixed = {
            "/detect": picture,
            "/explain": picture,
            "/detect/batch": settings.max_batch_bytes,
            # May contain picture files in base64, whose size does not depend on the model.
            "/invocations": settings.max_batch_bytes,
        }

    def __call__(self, path: str) -> int:
        """Return the maximum number of bytes of a request body for `path`."""
        if path.startswith("/v2/models/") and path.endswith("/infer"):
            return self._tensor_bytes()
        return self._fixed.get(path, _OTHER_BYTES)

    def _tensor_bytes(self) -> int:
        """Bytes of the largest tensor that the live model may get, at most `max_batch_bytes`."""
        live, settings = self._live(), self._settings
        if live is None:
            # The response is 503 for any body; the body is not read.
            return settings.max_batch_bytes
        return min(settings.max_batch_bytes, body_bytes(live.contract.input, most=settings.max_tensor_images))
