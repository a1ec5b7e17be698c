"""Compressed bodies, unpacked to at most as many bytes as an uncompressed one may have."""

from __future__ import annotations

import zlib
from types import MappingProxyType

from serving.failures import BadRequest, ContentUnsupported, PayloadTooLarge

# zlib's own numbers for the container: gzip (RFC 1952), and zlib (RFC 1950), which HTTP calls deflate.
_CONTAINERS = MappingProxyType({"gzip": 31, "x-gzip": 31, "deflate": 15})
IDENTITY = frozenset({"", "identity"})


def unpacked(body: bytes, encoding: str, *, limit: int) -> bytes:
    """The body as it was before it was compressed.

    Args:
        body: as it came.
        encoding: how it is compressed, `gzip` or `deflate`; empty when it is not.
        limit: most bytes that it may become; never more than one beyond are made.

    Raises:
        ContentUnsupported: another encoding, or several.
        PayloadTooLarge: it becomes too large.
        BadRequest: it is damaged or breaks off.
    """
    encoding = encoding.strip().lower()
    if encoding in IDENTITY:
        return body
    if encoding not in _CONTAINERS:
        raise ContentUnsupported(got=f"encoded as {encoding[:40]!r}", expected="gzip, deflate or neither")
    unpacker = zlib.decompressobj(_CONTAINERS[encoding])
    try:
        data = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadRequest(f"the body is no {encoding} ({error}); send it again") from error
    if len(data) > limit:
        raise PayloadTooLarge(limit=limit)
    if not unpacker.eof or unpacker.unused_data:
        raise BadRequest(f"the {encoding} breaks off or more follows it; send it again")
    return data
