"""Files of every image format and dialect that is read, and structure-aware mutations of them."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from tests.support.pictures import animated, encoded, png, png_chunk, textured

_SIGNATURE_BYTES = 8
_EXTREMES = (
    0,
    1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    257,
    0x3FFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    1 << 24,
    (1 << 31) - 1,
    1 << 31,
)
_MARKERS = (0xC0, 0xC2, 0xC4, 0xD0, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xE0, 0xE1, 0xFE, 0x01, 0x00)


def originals() -> Mapping[str, bytes]:
    """One intact file of each dialect, by a name that begins with its format."""
    picture = textured(11, width=40, height=32)
    clear = np.dstack([picture, np.full(picture.shape[:2], 90, np.uint8)])
    restarts = {"restart_marker_blocks": 1}
    rows = [bytes(row) for row in np.arange(32 * 40, dtype=np.uint8).reshape(32, 40)]
    wide = [bytes(row) for row in np.zeros((32, 40 * 8), np.uint8)]
    return {
        "jpeg": encoded(picture, "JPEG"),
        "jpeg-gray": encoded(picture, "JPEG", mode="L"),
        "jpeg-cmyk": encoded(picture, "JPEG", mode="CMYK"),
        "jpeg-progressive": encoded(picture, "JPEG", progressive=True),
        "jpeg-progressive-gray": encoded(picture, "JPEG", mode="L", progressive=True),
        "jpeg-restarts": encoded(picture, "JPEG", **restarts),
        "jpeg-444": encoded(picture, "JPEG", subsampling=0, optimize=True),
        "jpeg-exif": encoded(picture, "JPEG", orientation=6),
        "jpeg-without-end": encoded(picture, "JPEG")[:-2],
        "jpeg-trailer": encoded(picture, "JPEG") + bytes(range(200)),
        "png": encoded(picture),
        "png-palette": encoded(picture, mode="P"),
        "png-bilevel": encoded(picture, mode="1"),
        "png-gray-alpha": encoded(clear, mode="LA"),
        "png-alpha": encoded(clear),
        "png-gray": png(40, 32, depth=8, color=0, rows=rows),
        "png-16-bit": png(40, 32, depth=16, color=6, rows=wide, chunks=[(b"tEXt", b"a\0b")]),
        "png-transparent-gray": png(40, 32, depth=8, color=0, rows=rows, chunks=[(b"tRNS", b"\0\7")]),
        "png-text": png(
            40, 32, depth=8, color=0, rows=rows, chunks=[(b"zTXt", b"a\0\0" + zlib.compress(bytes(9_000)))]
        ),
        "png-exif": encoded(picture, orientation=8),
        "png-animated": animated("PNG"),
        "webp": encoded(picture, "WEBP"),
        "webp-lossless": encoded(picture, "WEBP", lossless=True),
        "webp-alpha": encoded(clear, "WEBP"),
        "webp-lossless-alpha": encoded(clear, "WEBP", lossless=True, exact=True),
        "webp-exif": encoded(picture, "WEBP", orientation=3),
        "webp-animated": animated("WEBP"),
        "bmp": encoded(picture, "BMP"),
        "bmp-palette": encoded(picture, "BMP", mode="P"),
        "bmp-bilevel": encoded(picture, "BMP", mode="1"),
        "bmp-gray": encoded(picture, "BMP", mode="L"),
        "bmp-alpha": encoded(clear, "BMP"),
        "bmp-os2": bmp_core(40, 32),
        "bmp-run-length": bmp_run_length(40, 32),
    }


def bmp_core(width: int, height: int) -> bytes:
    """A BMP file of OS/2, 24 bits, with the header of 12 bytes."""
    pixels = bytes(range(256)) * (-(-(width * 3 + 3) // 4 * 4 * height) // 256 + 1)
    pixels = pixels[: (width * 3 + 3) // 4 * 4 * height]
    return struct.pack("<2sIHHIIHHHH", b"BM", 26 + len(pixels), 0, 0, 26, 12, width, height, 1, 24) + pixels


def bmp_run_length(width: int, height: int) -> bytes:
    """A BMP file of 8 bits whose rows are one run each."""
    rows = b"".join(bytes([width, row % 256, 0, 0]) for row in range(height)) + b"\x00\x01"
    palette = b"".join(bytes([level, level, level, 0]) for level in range(256))
    head = struct.pack("<2sIHHI", b"BM", 54 + 1024 + len(rows), 0, 0, 54 + 1024)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0)
    return head + info + palette + rows


def mutated(name: str, files: Mapping[str, bytes], draw: random.Random) -> bytes:
    """The file of this name with one to four mutations of its bytes or its structure."""
    data = files[name]
    special = _SPECIAL[name.partition("-")[0]]
    for _ in range(draw.randint(1, 4)):
        mutate = draw.choice((*_ANY, *special, *special))
        # Some make a file longer: what is compared is the reading, not the transport.
        data = mutate(data, draw)[:200_000] or b"\xff"
    if draw.random() < 0.05:
        data = _spliced(data, files[draw.choice(sorted(files))], draw)
    return data


def _at(data: bytes, draw: random.Random) -> int:
    """A place in the file, most often near its beginning, where the structure is."""
    return min(int(len(data) * draw.random() ** draw.choice((1, 3, 6))), max(len(data) - 1, 0))


def _noise(data: bytes, draw: random.Random) -> bytes:
    start, noise = _at(data, draw), draw.randbytes(draw.randint(1, 6))
    return data[:start] + noise + data[start + len(noise) :]


def _number(data: bytes, draw: random.Random) -> bytes:
    orders: tuple[Literal["big", "little"], ...] = ("big", "little")
    size, order = draw.choice((1, 2, 4)), draw.choice(orders)
    start, value = _at(data, draw), draw.choice(_EXTREMES) % (1 << 8 * size)
    return data[:start] + value.to_bytes(size, order) + data[start + size :]


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: _at(data, draw)] if draw.random() < 0.5 else data[: -draw.randint(1, 20)]


def _removed(data: bytes, draw: random.Random) -> bytes:
    start = _at(data, draw)
    return data[:start] + data[start + draw.randint(1, 40) :]


def _repeated(data: bytes, draw: random.Random) -> bytes:
    start = _at(data, draw)
    part = data[start : start + draw.randint(1, 400)]
    return data[:start] + part * draw.choice((2, 3, 50)) + data[start + len(part) :]


def _appended(data: bytes, draw: random.Random) -> bytes:
    return data + draw.choice((bytes(200), b"\xff" * 200, draw.randbytes(200), data))


def _spliced(data: bytes, other: bytes, draw: random.Random) -> bytes:
    return data[: _at(data, draw)] + other[_at(other, draw) :]


def _jpeg_marker(data: bytes, draw: random.Random) -> bytes:
    """Something that stands between segments, or only looks as if it did."""
    places = [
        index for index in range(2, len(data) - 1) if data[index] == 0xFF and data[index + 1] not in (0, 0xFF)
    ]
    start = draw.choice(places) if places else _at(data, draw)
    length = draw.choice((0, 1, 2, 3, len(data) // 2, 0xFFFF)) & 0xFFFF
    added = draw.choice(
        (
            b"\xff" * draw.randint(1, 300),
            b"\xff\x00" + struct.pack(">H", length),
            draw.randbytes(draw.randint(1, 5)),
            bytes([0xFF, draw.choice(_MARKERS)]) + struct.pack(">H", length),
            bytes([0xFF, draw.choice(_MARKERS)]),
        )
    )
    return data[:start] + added + data[start:]


def _jpeg_size(data: bytes, draw: random.Random) -> bytes:
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    if frame < 0:
        return data
    size = struct.pack(">HH", draw.choice((1, 8, 32, 1000, 65_500)), draw.choice((1, 40, 1000, 30_000)))
    return data[: frame + 5] + size + data[frame + 9 :]


def _jpeg_scan(data: bytes, draw: random.Random) -> bytes:
    """The last scan once more, several times."""
    start = data.rfind(b"\xff\xda")
    return data if start < 0 else data[:-2] + data[start:-2] * draw.choice((1, 5, 150)) + data[-2:]


def _png_chunk(data: bytes, draw: random.Random) -> bytes:
    """A chunk of a known kind, with a right checksum, somewhere between the others."""
    position, places = _SIGNATURE_BYTES, [_SIGNATURE_BYTES]
    while position + 8 <= len(data) and len(places) < 200:
        position += 12 + struct.unpack_from(">I", data, position)[0]
        places.append(min(position, len(data)))
    kind = draw.choice(
        (b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"zTXt", b"eXIf", b"iCCP", b"IEND", b"abCd")
    )
    body = draw.choice(
        (b"", struct.pack(">IIBBBBB", 9_000, 9_000, 8, 2, 0, 0, 0), draw.randbytes(24), bytes(800))
    )
    start = draw.choice(places)
    return data[:start] + png_chunk(kind, body) * draw.choice((1, 1, 30)) + data[start:]


def _png_header(data: bytes, draw: random.Random) -> bytes:
    sides = (0, 1, 40, 1_000, 30_000, 1_000_001)
    depth, color = draw.choice(
        ((1, 0), (8, 0), (16, 0), (8, 2), (16, 2), (8, 3), (4, 3), (8, 4), (16, 6), (3, 5))
    )
    body = struct.pack(
        ">IIBBBBB", draw.choice(sides), draw.choice(sides), depth, color, 0, 0, draw.choice((0, 1, 2))
    )
    return data[:_SIGNATURE_BYTES] + png_chunk(b"IHDR", body) + data[33:]


def _webp_chunk(data: bytes, draw: random.Random) -> bytes:
    """A chunk, `VP8X` among them, in front of, between or behind the others; most often the size follows."""
    width, height = draw.choice((40, 8, 9_000)), draw.choice((32, 8, 9_000))
    extended = bytes([draw.choice((0, 2, 16, 255)), 0, 0, 0])
    extended += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    lossless = b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little") + bytes(15)
    kind, body = draw.choice(
        ((b"VP8X", extended), (b"VP8L", lossless), (b"ALPH", bytes(9)), (b"EXIF", bytes(30)))
    )
    chunk = kind + struct.pack("<I", len(body)) + body + bytes(len(body) & 1)
    start = draw.choice((12, len(data), 12 + 8 + _webp_length(data)))
    data = data[:start] + chunk + data[start:]
    return data if draw.random() < 0.2 else data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def _webp_length(data: bytes) -> int:
    length = int(struct.unpack_from("<I", data, 16)[0]) if len(data) >= 20 else 0
    return length + (length & 1)


def _bmp_field(data: bytes, draw: random.Random) -> bytes:
    """One number of the header: offset, size, sides, bits, compression or colours."""
    start, size = draw.choice(((10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 4), (46, 4)))
    value = draw.choice((*_EXTREMES, 12, 36, 40, 16, 24, 32, 3, 6, 30_000, (1 << 32) - 32))
    return data[:start] + (value % (1 << 8 * size)).to_bytes(size, "little") + data[start + size :]


_ANY: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _noise,
    _number,
    _cut,
    _removed,
    _repeated,
    _appended,
)
_SPECIAL: Mapping[str, tuple[Callable[[bytes, random.Random], bytes], ...]] = {
    "jpeg": (_jpeg_marker, _jpeg_size, _jpeg_scan),
    "png": (_png_chunk, _png_header),
    "webp": (_webp_chunk,),
    "bmp": (_bmp_field,),
}
