"""Compressed bodies, unpacked a step at a time to at most as many bytes as an uncompressed one may have."""

from __future__ import annotations

import zlib
from types import MappingProxyType

from serving.errors import BadRequest, EncodingUnsupported, PayloadTooLarge

# zlib's own numbers for the container: gzip (RFC 1952), and zlib (RFC 1950), which HTTP calls deflate.
_CONTAINERS = MappingProxyType({"gzip": 31, "x-gzip": 31, "deflate": 15})
_IDENTITY = frozenset({"", "identity"})
# Most bytes of a step: 0.2 ms of work, during which nothing else is answered.
STEP_BYTES = 64 * 1024


class Unpacker:
    """Unpacks one body, as its parts come."""

    def __init__(self, encoding: str, *, limit: int) -> None:
        """Begin.

        Args:
            encoding: `gzip` or `deflate`, as `Content-Encoding` has it.
            limit: most bytes that the body may become; never more than a step beyond are made.

        Raises:
            EncodingUnsupported: another encoding, or several.
        """
        self._encoding = encoding.strip().lower()
        if self._encoding not in _CONTAINERS:
            raise EncodingUnsupported(got=encoding.strip()[:40], expected="gzip, deflate or none")
        self._unpacker = zlib.decompressobj(_CONTAINERS[self._encoding])
        self._limit = limit
        self._waiting = b""
        self._made = 0
        self.has_more = False
        """Whether `step` may give something without being fed."""

    def feed(self, data: bytes) -> None:
        """Take the next part of the compressed body, once `has_more` is false."""
        self._waiting = data
        self.has_more = bool(data)

    def step(self) -> bytes:
        """The next bytes, at most `STEP_BYTES`.

        Raises:
            PayloadTooLarge: the body becomes too large.
            BadRequest: it is damaged, or something follows it.
        """
        try:
            data = self._unpacker.decompress(self._waiting, STEP_BYTES)
        except zlib.error as error:
            raise BadRequest(f"the body is not {self._encoding} ({error}); send it again") from error
        self._waiting = self._unpacker.unconsumed_tail
        self.has_more = bool(self._waiting) or len(data) == STEP_BYTES
        self._made += len(data)
        if self._made > self._limit:
            raise PayloadTooLarge(limit=self._limit)
        if self._unpacker.unused_data:
            raise BadRequest(f"something follows the {self._encoding} in the body; send one compressed body")
        return data

    def finish(self) -> None:
        """Take the end of the compressed body.

        Raises:
            BadRequest: it comes too early.
        """
        if not self._unpacker.eof:
            raise BadRequest(f"the {self._encoding} in the body breaks off; send it again")


def is_packed(encoding: str) -> bool:
    """Whether a `Content-Encoding` means something that has to be unpacked."""
    return encoding.strip().lower() not in _IDENTITY
