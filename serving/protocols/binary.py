"""Framing of the binary tensor data extension: a JSON object, then the tensors' bytes without any padding.

A header of its own says how long the JSON is; without it the body is all JSON, 0 means that there is none.
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from serving.errors import BadRequest

LENGTH_HEADER = "Inference-Header-Content-Length"
# More digits than any body's length has; `int` would take thousands of them, and time for it.
_MAX_DIGITS = 12
_ELEMENT = struct.Struct("<I")


def split(body: bytes, length: str | None) -> tuple[memoryview, memoryview]:
    """Part a body in its JSON and its tensors' bytes; neither is copied.

    Args:
        body: of the request.
        length: of the JSON in bytes, as the header says; None without the header.

    Raises:
        BadRequest: the length is no number, or beyond the body.
    """
    view = memoryview(body)
    if length is None:
        return view, view[len(view) :]
    if not (length.isascii() and length.isdecimal() and len(length) <= _MAX_DIGITS):
        raise BadRequest(f"{LENGTH_HEADER} is {length[:40]!r}, expected the length of the JSON in bytes")
    at = int(length)
    if at > len(view):
        raise BadRequest(f"{LENGTH_HEADER} is {at}, but the body has {len(view)} bytes; send it whole")
    return view[:at], view[at:]


def join(header: bytes, tensors: Sequence[bytes | memoryview]) -> bytes:
    """The JSON and the tensors' bytes as one body."""
    return b"".join([header, *tensors])


def texts(elements: Iterable[str]) -> bytes:
    """A BYTES tensor: of each element its length, uint32, and its UTF-8."""
    encoded = [element.encode() for element in elements]
    return b"".join(_ELEMENT.pack(len(element)) + element for element in encoded)
