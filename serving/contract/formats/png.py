"""PNG (third edition), its chunks walked as libpng walks them.

Two parts of a PNG file are unpacked without being bounded by the picture's size: compressed text and
profiles (in libpng twice 8 MB for each of a thousand chunks), and pixel data beyond the last row. The first
are not given to the decoder, the second are measured where they could be many.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from serving.contract.formats.header import (
    MAX_PARTS,
    ImageHeader,
    exif_orientation,
    too_many_parts,
    truncated,
)
from serving.errors import ImageUndecodable

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# 11.2.1: what (bit depth, colour type) is called by Pillow.
_MODES = {2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Their text and profiles are compressed, and no pixel depends on them here.
_COMPRESSED = frozenset({b"zTXt", b"iTXt", b"iCCP"})
# RFC 1951: at most 258 bytes from two bits, 1032 to 1.
_DEFLATE_RATIO = 1032
# What may be unpacked unmeasured: inflating it takes libpng 0.7 s. Files below 260 kB are never measured.
_UNMEASURED_BYTES = 256 * 1024 * 1024
# Encoders leave less behind the last row; libpng passes over it with a warning.
_EXCESS_BYTES = 1024 * 1024
_BLOCK = 64 * 1024
# 8.1: column and row of each pass's first pixel, and the steps between its columns and rows.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def read(data: bytes) -> ImageHeader:
    """Header of a PNG file.

    Raises:
        ImageUndecodable: it cannot be decoded, or only at a cost that no picture has.
    """
    if data[8:16] != b"\x00\x00\x00\rIHDR":
        raise ImageUndecodable(format="PNG", reason="its first chunk is not IHDR")
    width, height, depth, color, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    alpha, frames, exif, key = color in (4, 6), 1, b"", None
    unneeded, pixels = [], []
    for name, start, end in _chunks(data):
        if name == b"IDAT":
            pixels.append((start, end))
        elif name in _COMPRESSED:
            unneeded.append((start - 8, end + 4))
        elif name == b"acTL":
            # The decoder takes the last one before the pixels.
            frames = max(frames, *struct.unpack_from(">I", data, start))
        elif name == b"eXIf":
            exif = data[start:end]
        elif name == b"tRNS":
            alpha = True
            key = struct.unpack_from(">H", data, start)[0] if color == 0 else None
    if not pixels:
        # OpenCV looks for them beyond IEND, and allocates the length that it finds there.
        raise ImageUndecodable(format="PNG", reason="it has no pixel data")
    expected = _unpacked_size(width, height, depth * _CHANNELS.get(color, 1), interlaced=interlace == 1)
    _check_pixel_data(data, pixels, expected)
    return ImageHeader(
        format="PNG",
        width=width,
        height=height,
        mode=_MODES.get(color) or {1: "1", 16: "I;16"}.get(depth, "L"),
        bit_depth=depth,
        alpha=alpha,
        frames=frames,
        orientation=exif_orientation(exif),
        transparent_gray=key,
        unneeded=tuple(unneeded),
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and byte after the last of each chunk's content, up to IEND."""
    position = len(SIGNATURE)
    for _ in range(MAX_PARTS):
        length, name = struct.unpack_from(">I4s", data, position)
        start = position + 8
        position = start + length + 4
        if position > len(data):
            raise truncated("PNG")
        if name == b"IEND":
            return
        yield name, start, start + length
    raise too_many_parts("PNG")


def _unpacked_size(width: int, height: int, bits: int, *, interlaced: bool) -> int:
    """Bytes of all rows, each with the byte that names its filter."""
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    size = 0
    for x, y, step_x, step_y in passes:
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        if columns > 0 and rows > 0:
            size += (1 + (columns * bits + 7) // 8) * rows
    return size


def _check_pixel_data(data: bytes, parts: list[tuple[int, int]], expected: int) -> None:
    """Refuse pixel data that unpack to far more than the picture has: libpng unpacks them to their end."""
    packed = sum(end - start for start, end in parts)
    if packed * _DEFLATE_RATIO <= max(_UNMEASURED_BYTES, expected):
        return
    left = expected + _EXCESS_BYTES
    inflater = zlib.decompressobj()
    try:
        for start, end in parts:
            for position in range(start, end, _BLOCK):
                rest = data[position : min(position + _BLOCK, end)]
                while rest and not inflater.eof:
                    left -= len(inflater.decompress(rest, _EXCESS_BYTES))
                    if left < 0:
                        raise ImageUndecodable(format="PNG", reason="its pixel data exceed its size")
                    rest = inflater.unconsumed_tail
    except zlib.error as error:
        raise ImageUndecodable(format="PNG", reason="its pixel data is corrupt") from error
