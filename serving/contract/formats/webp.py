"""WebP, its chunks walked as libwebp walks them (RFC 9649).

The first chunk decides: `VP8 ` or `VP8L` is the picture and what follows is passed over; after `VP8X` the
picture comes later and must have the size that `VP8X` states. A later `VP8X` says nothing.
"""

from __future__ import annotations

import struct

from serving.contract.formats.header import (
    MAX_PARTS,
    ImageHeader,
    exif_orientation,
    too_many_parts,
    truncated,
)
from serving.errors import ImageUndecodable

_VP8X_BYTES = 10


def read(data: bytes) -> ImageHeader:
    """Header of a WebP file.

    Raises:
        ImageUndecodable: it cannot be decoded.
    """
    (size,) = struct.unpack_from("<I", data, 4)
    end = size + 8
    if len(data) < end:
        raise truncated("WebP")
    flags, canvas, picture, exif, frames = 0, None, None, b"", 0
    position = 12
    for part in range(MAX_PARTS):
        if position + 8 > end:
            break
        name, length = struct.unpack_from("<4sI", data, position)
        body = position + 8
        if name == b"VP8X" and part == 0:
            if length < _VP8X_BYTES:
                raise ImageUndecodable(format="WebP", reason="its first chunk is too short")
            flags = data[body]
            canvas = _uint24(data, body + 4) + 1, _uint24(data, body + 7) + 1
        elif name in (b"VP8 ", b"VP8L") and picture is None:
            picture = _lossy(data, body) if name == b"VP8 " else _lossless(data, body)
        elif part == 0:
            raise ImageUndecodable(format="WebP", reason="its first chunk is not a picture")
        elif name == b"ANMF":
            frames += 1
        elif name == b"EXIF":
            exif = data[body : body + length]
        position = body + length + (length & 1)
    else:
        raise too_many_parts("WebP")
    animated = bool(flags & 0x02)
    width, height, alpha = _checked(canvas, picture, animated=animated)
    alpha = bool(flags & 0x10) if canvas else alpha
    return ImageHeader(
        format="WebP",
        width=width,
        height=height,
        mode="RGBA" if alpha else "RGB",
        bit_depth=8,
        alpha=alpha,
        # A file that says it is animated is one, even with a single frame.
        frames=max(frames, 2) if animated else 1,
        orientation=exif_orientation(exif),
    )


def _checked(
    canvas: tuple[int, int] | None, picture: tuple[int, int, bool] | None, *, animated: bool
) -> tuple[int, int, bool]:
    if animated and canvas:
        return *canvas, False
    if picture is None:
        raise truncated("WebP")
    if canvas and canvas != picture[:2]:
        raise ImageUndecodable(format="WebP", reason="its picture does not have the size of its canvas")
    return picture


def _lossy(data: bytes, body: int) -> tuple[int, int, bool]:
    width, height = struct.unpack_from("<HH", data, body + 6)
    return width & 0x3FFF, height & 0x3FFF, False


def _lossless(data: bytes, body: int) -> tuple[int, int, bool]:
    (bits,) = struct.unpack_from("<I", data, body + 1)
    return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)


def _uint24(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 3], "little")
