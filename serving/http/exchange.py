"""One request and its answer on their way in and out: bytes counted, headers completed, a slow client let go.

Bytes are counted as they come from the socket, before anything reads them.

What a client says before anything else: its key, its id for the request, where it comes from.

How many bytes a request's body may have, by its path.
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
from serving.http.body import FORM_OVERHEAD_BYTES, Unpacker, is_packed
from serving.http.limits import HeldBytes, Rate
from serving.inference.model_slot import LiveModel
from serving.protocols.tensors import body_bytes
from serving.settings import Settings

# A client's own id is taken over when it cannot break a log line or a header.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_INTERESTING = frozenset(
    {
        b"authorization", b"content-encoding", b"content-length", b"expect", b"host", b"origin",
        b"traceparent", b"tracestate", b"transfer-encoding", b"x-api-key", b"x-request-id",
    }
)  # fmt: skip


class Head:
    """The head of one request or of one WebSocket handshake."""

    __slots__ = ("headers", "origin", "request_id")

    def __init__(self, scope: Scope) -> None:
        """Read it, and leave the request's id in the scope's state for whoever answers."""
        self.headers: Mapping[bytes, bytes] = {
            name: value for name, value in scope["headers"] if name in _INTERESTING
        }
        wanted = self.headers.get(b"x-request-id", b"")
        self.request_id = wanted.decode() if _REQUEST_ID.fullmatch(wanted) else new_id()
        scope.setdefault("state", {})["request_id"] = self.request_id
        server, client = scope.get("server"), scope.get("client")
        self.origin = Origin(
            server=server[0] if server and server[1] is not None else None,
            client=client[0] if client else None,
            host=self.headers.get(b"host", b"").decode("latin-1"),
        )

    @property
    def key(self) -> str | None:
        """The API key that was sent in a header of its own."""
        own = self.headers.get(b"x-api-key")
        if own is not None:
            return own.decode("latin-1")
        scheme, _, token = self.headers.get(b"authorization", b"").partition(b" ")
        return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else None


# How long the rest of a refused body is read and thrown away, so that the client gets to read the answer
# instead of a reset connection (RFC 9112, 9.6).
_LINGER_S = 2.0
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
# For whatever has no policy of its own: nothing may be loaded, as JSON needs nothing.
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
ADDED_HEADERS = (*_SECURITY_HEADERS, _POLICY)
"""What every answer has that does not bring its own."""
_ADDED_NAMES = frozenset(name for name, _ in ADDED_HEADERS)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may cost."""

    body_bytes: Callable[[str], int]
    """Path → most bytes of its body."""
    body_timeout_s: float
    held: HeldBytes
    """Shared by all requests."""
    rate: Rate | None
    """For everything but what is open to all."""


class Exchange:
    """One request and its answer: counts what comes in, completes what goes out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        self.begun = time.perf_counter()
        self.status = 0
        """Of the answer; 0 before it begins."""
        self.received = 0
        """Bytes of the body so far."""
        self._receive, self._send = receive, send
        self._limit = limits.body_bytes(scope["path"])
        self._shared = limits.held
        self._held = 0
        self._timeout_s = limits.body_timeout_s
        self._deadline: float | None = None
        self.head = Head(scope)
        self._headers = self.head.headers
        # RFC 9112, 6.3: a request without these two has no body.
        self._complete = not {b"content-length", b"transfer-encoding"} & self._headers.keys()
        self._started_reading = False
        self.receive: Receive = self._receive_plain
        """The next part of the body, unpacked; raises what makes the rest of it useless."""
        self._unpacker: Unpacker | None = None
        self._is_unpacked = False

    def check_announced(self) -> None:
        """Refuse by the announced length and encoding, before a byte is read.

        Raises:
            PayloadTooLarge: it is above the limit.
            EncodingUnsupported: it is compressed in a way that is not read.
        """
        encoding = self._headers.get(b"content-encoding", b"").decode("latin-1")
        if encoding and not self._complete and is_packed(encoding):
            self._unpacker = Unpacker(encoding, limit=self._limit)
            self.receive = self._receive_unpacked
        announced = self._headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._limit:
            raise PayloadTooLarge(limit=self._limit)

    async def _receive_plain(self) -> Message:
        """The next part of the body, as it came.

        Raises:
            PayloadTooLarge: more came than is allowed.
            BodiesFull: all requests together hold more than is allowed.
            BodyTooSlow: it did not come in time.
            BodyIncomplete: the client went away.
        """
        if self._complete and self._started_reading:
            return await self._receive()
        message = await self._timely()
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

    async def _receive_unpacked(self) -> Message:
        """The next part of a compressed body, as it was before.

        Raises:
            BadRequest: it is damaged or breaks off.
            ServingError: what `_receive_plain` raises.
        """
        unpacker = self._unpacker
        if unpacker is None or self._is_unpacked:
            return await self._receive()
        while not unpacker.has_more and not self._complete:
            unpacker.feed((await self._receive_plain()).get("body", b""))
        data = unpacker.step()
        self._hold(len(data))
        self._is_unpacked = self._complete and not unpacker.has_more
        if self._is_unpacked:
            unpacker.finish()
        # Between two steps others have their turn.
        await asyncio.sleep(0)
        return {"type": "http.request", "body": data, "more_body": not self._is_unpacked}

    def _hold(self, count: int) -> None:
        self._shared.take(count)
        self._held += count

    def close(self) -> None:
        """The request is done, its body is let go."""
        self._shared.give_back(self._held)
        self._held = 0

    async def _timely(self) -> Message:
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
        """Pass a part of the answer on, with the headers that all answers have."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._completed(message.get("headers", []))}
        elif not message.get("more_body", False) and not self._complete:
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    def _completed(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        given = {name for name, _ in headers} & _ADDED_NAMES
        added = [pair for pair in ADDED_HEADERS if pair[0] not in given] if given else [*ADDED_HEADERS]
        added.append((b"x-request-id", self.head.request_id.encode()))
        if not self._complete:
            # What is left of the body is not worth reading to keep the connection.
            added.append((b"connection", b"close"))
        return [*headers, *added]

    async def _linger(self) -> None:
        # A client that waits for `100 Continue` sends nothing once it has the answer.
        if b"expect" in self._headers and not self._started_reading:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return


# JSON bodies hold two short texts.
_OTHER_BYTES = 64 * 1024


class BodyLimits:
    """Path → most bytes."""

    def __init__(self, settings: Settings, live: Callable[[], LiveModel | None]) -> None:
        """Take the settings; `live` gives the model whose tensors are counted, None when there is none."""
        self._settings = settings
        self._live = live
        picture = settings.max_bytes + FORM_OVERHEAD_BYTES
        self._fixed = {
            "/detect": picture,
            "/explain": picture,
            "/detect/batch": settings.max_batch_bytes,
            # Pictures' files in base64 have no size of the model's.
            "/invocations": settings.max_batch_bytes,
        }

    def __call__(self, path: str) -> int:
        """Most bytes of the body of a request for `path`."""
        if path.startswith("/v2/models/") and path.endswith("/infer"):
            return self._tensor_bytes()
        return self._fixed.get(path, _OTHER_BYTES)

    def _tensor_bytes(self) -> int:
        """What the most pictures of the live model need, and never more than all files of a request."""
        live, settings = self._live(), self._settings
        if live is None:
            # The answer is 503, whatever the body's size: it is not read.
            return settings.max_batch_bytes
        return min(settings.max_batch_bytes, body_bytes(live.contract.input, most=settings.max_tensor_images))
