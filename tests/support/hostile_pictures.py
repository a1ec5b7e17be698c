"""Files that are small and would cost a decoder seconds or gigabytes, and files that only look broken."""

from __future__ import annotations

import struct

import numpy as np

from tests.support.pictures import encoded, textured

PICTURE = textured(5, width=100, height=90)


def jpeg_of_two_sizes() -> bytes:
    """`FF 00` has no length: a careless reader takes a whole header of 30000 × 30000 for its content."""
    small, large = encoded(PICTURE, "JPEG"), bytearray(encoded(PICTURE, "JPEG"))
    frame = large.index(b"\xff\xc0")
    large[frame + 5 : frame + 9] = struct.pack(">HH", 30_000, 30_000)
    hidden = bytes(large[2:])
    return b"\xff\xd8\xff\x00" + struct.pack(">H", len(hidden) + 2) + hidden + small[2:]


def webp_with_a_later_canvas(width: int, height: int) -> bytes:
    """A lossless picture of this size, and behind it a `VP8X` that says 40 × 32."""
    picture = bytearray(encoded(PICTURE, "WEBP", lossless=True))
    picture[21:25] = struct.pack("<I", (width - 1) | (height - 1) << 14)
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\x27\0\0\x1f\0\0"
    return (
        bytes(picture[:4]) + struct.pack("<I", len(picture) + len(canvas) - 8) + bytes(picture[8:]) + canvas
    )


def progressive(scans: int, *, side: int = 2_000) -> bytes:
    """A progressive JPEG with this number of further scans, each a last refinement without data."""
    data = encoded(np.zeros((side, side, 3), np.uint8), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + data[-2:]


def bmp_of_257_grays() -> bytes:
    """A BMP file of 8 bits whose header states one colour more than its pixels can name."""
    data = bytearray(encoded(PICTURE, "BMP", mode="L"))
    data[46:50] = struct.pack("<I", 257)
    return bytes(data)


def with_trailer(data: bytes) -> bytes:
    """A JPEG file whose end marker is missing and behind whose data a camera wrote its own records."""
    return data[:-2] + b"\0\0\1\x0bSEFHe\0\0\0" + bytes(range(64)) * 60 + b"SEFT"


def between_segments(data: bytes, added: bytes) -> bytes:
    """A JPEG file with something between its first two segments."""
    second = 4 + int.from_bytes(data[4:6], "big")
    return data[:second] + added + data[second:]
