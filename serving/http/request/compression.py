"""Compressed request bodies: `Content-Encoding` gzip and deflate, decompressed in steps."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from types import MappingProxyType

from starlette.types import Message, Receive

from serving.errors.requests import BadRequest, EncodingUnsupported, PayloadTooLarge

# zlib's window sizes: gzip (RFC 1952) and zlib (RFC 1950), which HTTP calls deflate.
_CONTAINERS = MappingProxyType({"gzip": 31, "x-gzip": 31, "deflate": 15})
_IDENTITY = frozenset({"", "identity"})
# Maximum output of a step: 0.2 ms of work, during which the event loop is blocked.
STEP_BYTES = 64 * 1024


class Decompressor:
    """Decompresses one body in steps, as its parts arrive."""

    def __init__(self, encoding: str, *, limit: int) -> None:
        """Create a decompressor.

        Args:
            encoding: the `Content-Encoding`: `gzip` or `deflate`.
            limit: maximum size after decompression, bytes; at most one step more is produced.

        Raises:
            EncodingUnsupported: another encoding, or several.
        """
        self._encoding = encoding.strip().lower()
        if self._encoding not in _CONTAINERS:
            raise EncodingUnsupported(got=encoding.strip()[:40], expected="gzip, deflate or none")
        self._decompressor = zlib.decompressobj(_CONTAINERS[self._encoding])
        self._limit = limit
        self._waiting = b""
        self._produced = 0
        self.has_more = False
        """Whether `step` may return bytes without another `feed`."""

    def feed(self, data: bytes) -> None:
        """Add the next part of the compressed body; only while `has_more` is false."""
        self._waiting = data
        self.has_more = bool(data)

    def step(self) -> bytes:
        """Decompress the next bytes, at most `STEP_BYTES`.

        Raises:
            PayloadTooLarge: the decompressed body is too large.
            BadRequest: the data is damaged, or other data follows it.
        """
        try:
            data = self._decompressor.decompress(self._waiting, STEP_BYTES)
        except zlib.error as error:
            raise BadRequest(f"the body is not {self._encoding} ({error}); send it again") from error
        self._waiting = self._decompressor.unconsumed_tail
        self.has_more = bool(self._waiting) or len(data) == STEP_BYTES
        self._produced += len(data)
        if self._produced > self._limit:
            raise PayloadTooLarge(limit=self._limit)
        if self._decompressor.unused_data:
            raise BadRequest(
                f"other data follows the {self._encoding} data in the body; send one compressed body"
            )
        return data

    def finish(self) -> None:
        """Check that the compressed body is complete.

        Raises:
            BadRequest: the body ends too early.
        """
        if not self._decompressor.eof:
            raise BadRequest(f"the {self._encoding} data in the body is incomplete; send it again")


class DecompressedBody:
    """Receives a compressed body as decompressed parts."""

    def __init__(
        self,
        decompressor: Decompressor,
        *,
        receive: Receive,
        receive_after: Receive,
        hold: Callable[[int], None],
    ) -> None:
        """Wrap the reception of a body.

        Args:
            decompressor: new.
            receive: receives the next part of the compressed body.
            receive_after: receives what follows the body.
            hold: called with the number of bytes of each decompressed part; an exception ends the reception.
        """
        self._decompressor = decompressor
        self._receive = receive
        self._receive_after = receive_after
        self._hold = hold
        self._is_received = False
        self._is_decompressed = False

    async def receive(self) -> Message:
        """Receive the next decompressed part.

        Raises:
            BadRequest: the compressed data is damaged or incomplete.
            ServingError: an error of the reception.
        """
        if self._is_decompressed:
            return await self._receive_after()
        while not self._decompressor.has_more and not self._is_received:
            message = await self._receive()
            self._is_received = not message.get("more_body", False)
            self._decompressor.feed(message.get("body", b""))
        data = self._decompressor.step()
        self._hold(len(data))
        self._is_decompressed = self._is_received and not self._decompressor.has_more
        if self._is_decompressed:
            self._decompressor.finish()
        # Let other tasks run between two steps.
        await asyncio.sleep(0)
        return {"type": "http.request", "body": data, "more_body": not self._is_decompressed}


def is_compressed(encoding: str) -> bool:
    """Whether a `Content-Encoding` requires decompression."""
    return encoding.strip().lower() not in _IDENTITY
