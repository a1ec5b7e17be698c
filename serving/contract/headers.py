"""What an image file says of itself, read from its first bytes in microseconds.

A 140 kB PNG can decode to 700 MB, so size, frames and depth are known, and can be refused, before
a single pixel is decoded. The format is told by content, never by a file name.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from serving.errors import ImageEmpty, ImageFormatUnknown, ImageUndecodable

Format = Literal["JPEG", "PNG", "WebP", "BMP"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EXIF_PREFIX = b"Exif\x00\x00"
_ORIENTATION_TAG = 0x0112
_SHORT = 3
# ITU-T T.81, table B.1: start-of-frame markers are C0–CF but for DHT, JPG and DAC.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END_OF_IMAGE, _APP1 = 0xDA, 0xD9, 0xE1
# Markers without a length: TEM and RST0–RST7, SOI.
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
# PNG (third edition), 11.2.1: what (bit depth, colour type) is called by Pillow.
_PNG_MODES = {2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
_BITFIELDS, _ALPHA_BITFIELDS = 3, 6


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Facts about an image file; none of them needs a decoded pixel."""

    format: Format
    """Told by content."""
    width: int
    """Columns as stored, px, before the EXIF orientation is applied."""
    height: int
    """Rows as stored, px, before the EXIF orientation is applied."""
    mode: str
    """Pillow's name for the pixels: `1`, `L`, `LA`, `I;16`, `P`, `RGB`, `RGBA` or `CMYK`."""
    bit_depth: int
    """Bits per channel (per index for palettes)."""
    alpha: bool
    """Whether some pixels may be transparent."""
    frames: int = 1
    """Frames of an animation; 1 for a still image."""
    orientation: int = 1
    """EXIF orientation, 1–8; 1 where the file says nothing or nonsense."""
    transparent_gray: int | None = None
    """The one gray value (of `bit_depth` bits) that a gray PNG declares transparent."""

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height in px once the orientation is applied."""
        turned = self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def read_header(data: bytes) -> ImageHeader:
    """Read the header of a JPEG, PNG, WebP or BMP file, and check that the file is whole.

    Raises:
        ImageEmpty: zero bytes.
        ImageFormatUnknown: another format.
        ImageUndecodable: the header is corrupt or the data ends too early.
    """
    if not data:
        raise ImageEmpty
    if data[:3] == b"\xff\xd8\xff":
        return _parsed("JPEG", data)
    if data[:8] == _PNG_SIGNATURE:
        return _parsed("PNG", data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _parsed("WebP", data)
    if data[:2] == b"BM" and len(data) > 18:
        return _parsed("BMP", data)
    raise ImageFormatUnknown(head=data[:8])


def _parsed(format: Format, data: bytes) -> ImageHeader:
    try:
        header = _PARSERS[format](data)
    except (struct.error, IndexError) as error:
        raise _truncated(format) from error
    if header.width < 1 or header.height < 1:
        raise ImageUndecodable(format=format, reason=f"its size is {header.width}×{header.height}")
    return header


def _truncated(format: Format) -> ImageUndecodable:
    return ImageUndecodable(format=format, reason="it ends too early")


def _jpeg(data: bytes) -> ImageHeader:
    position, frame, orientation = 2, None, 1
    while True:
        if data[position] != 0xFF:
            raise ImageUndecodable(format="JPEG", reason="a segment does not begin with a marker")
        marker = data[position + 1]
        if marker == 0xFF:  # fill bytes may precede a marker
            position += 1
            continue
        if marker in _STANDALONE:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        body = position + 4
        if marker in _START_OF_FRAME:
            frame = struct.unpack_from(">BHHB", data, body)
        elif marker == _APP1 and data.startswith(_EXIF_PREFIX, body):
            orientation = _orientation(data[body : position + 2 + length])
        elif marker in (_START_OF_SCAN, _END_OF_IMAGE):
            break
        position += 2 + length
    # Inside a scan every FF byte is stuffed, so the end marker cannot be mistaken. Decoders fill
    # the missing part of a truncated file with gray; some of OpenCV's do so without an error.
    if data.rfind(b"\xff\xd9", position) < 0:
        raise _truncated("JPEG")
    if frame is None:
        raise ImageUndecodable(format="JPEG", reason="it has no frame header")
    depth, height, width, components = frame
    mode = {1: "L", 3: "RGB", 4: "CMYK"}.get(components)
    if mode is None:
        raise ImageUndecodable(format="JPEG", reason=f"it has {components} colour components")
    return ImageHeader(
        format="JPEG",
        width=width,
        height=height,
        mode=mode,
        bit_depth=depth,
        alpha=False,
        orientation=orientation,
    )


def _png(data: bytes) -> ImageHeader:
    if data[12:16] != b"IHDR":
        raise ImageUndecodable(format="PNG", reason="its first chunk is not IHDR")
    width, height, depth, color = struct.unpack_from(">IIBB", data, 16)
    alpha, frames, orientation, key = color in (4, 6), 1, 1, None
    position = 8
    while (name := data[position + 4 : position + 8]) != b"IEND":
        (length,) = struct.unpack_from(">I", data, position)
        body = position + 8
        if name == b"acTL":
            (frames,) = struct.unpack_from(">I", data, body)
        elif name == b"eXIf":
            orientation = _orientation(data[body : body + length])
        elif name == b"tRNS":
            alpha = True
            key = struct.unpack_from(">H", data, body)[0] if color == 0 else None
        position = body + length + 4
    if len(data) < position + 12:
        raise _truncated("PNG")
    return ImageHeader(
        format="PNG",
        width=width,
        height=height,
        mode=_PNG_MODES.get(color) or {1: "1", 16: "I;16"}.get(depth, "L"),
        bit_depth=depth,
        alpha=alpha,
        frames=max(frames, 1),
        orientation=orientation,
        transparent_gray=key,
    )


def _webp(data: bytes) -> ImageHeader:
    (size,) = struct.unpack_from("<I", data, 4)
    end = size + 8
    if len(data) < end:
        raise _truncated("WebP")
    width = height = frames = 0
    alpha, animated, orientation = False, False, 1
    position = 12
    while position + 8 <= end:
        name = data[position : position + 4]
        (length,) = struct.unpack_from("<I", data, position + 4)
        body = position + 8
        if name == b"VP8X":
            flags = data[body]
            alpha, animated = bool(flags & 0x10), bool(flags & 0x02)
            width = 1 + int.from_bytes(data[body + 4 : body + 7], "little")
            height = 1 + int.from_bytes(data[body + 7 : body + 10], "little")
        elif name == b"VP8 " and not width:
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, body + 6))
        elif name == b"VP8L" and not width:
            (bits,) = struct.unpack_from("<I", data, body + 1)
            width, height, alpha = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)
        elif name == b"ANMF":
            frames += 1
        elif name == b"EXIF":
            orientation = _orientation(data[body : body + length])
        position = body + length + (length & 1)
    return ImageHeader(
        format="WebP",
        width=width,
        height=height,
        mode="RGBA" if alpha else "RGB",
        bit_depth=8,
        alpha=alpha,
        # A file that says it is animated is one, even with a single frame.
        frames=max(frames, 2) if animated else 1,
        orientation=orientation,
    )


def _bmp(data: bytes) -> ImageHeader:
    offset, size = struct.unpack_from("<II", data, 10)
    if size == 12:  # BITMAPCOREHEADER, OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression, colors, entry = 0, 0, 3
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        (colors,) = struct.unpack_from("<I", data, 46)
        entry = 4
    if compression in (0, _BITFIELDS, _ALPHA_BITFIELDS):
        stride = (width * bits + 31) // 32 * 4
        if len(data) < offset + stride * abs(height):
            raise _truncated("BMP")
    alpha = bits == 32 and compression in (_BITFIELDS, _ALPHA_BITFIELDS) and _bmp_alpha(data, size)
    palette = data[14 + size : 14 + size + entry * (colors or 1 << bits)] if bits <= 8 else b""
    return ImageHeader(
        format="BMP",
        width=width,
        height=abs(height),
        mode=_bmp_mode(bits, palette, entry=entry, alpha=alpha),
        bit_depth=bits if bits <= 8 else 8,
        alpha=alpha,
    )


def _bmp_alpha(data: bytes, size: int) -> bool:
    # The fourth mask follows the three colour masks, in the header from V3 (56 bytes) on.
    return size >= 56 and struct.unpack_from("<I", data, 66)[0] != 0


def _bmp_mode(bits: int, palette: bytes, *, entry: int, alpha: bool) -> str:
    if bits > 8:
        return "RGBA" if alpha else "RGB"
    count = len(palette) // entry
    levels = (0, 255) if count == 2 else range(count)
    gray = all(
        palette[index * entry : index * entry + 3] == bytes((level, level, level))
        for index, level in enumerate(levels)
    )
    if not gray:
        return "P"
    return "1" if count == 2 else "L"


def _orientation(exif: bytes) -> int:
    """EXIF 2.32, 4.6.2: walk the entries of the first directory; 1 where anything is amiss."""
    tiff = exif.removeprefix(_EXIF_PREFIX)
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for index in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * index)
            if tag == _ORIENTATION_TAG:
                return value if kind == _SHORT and 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


_PARSERS = {"JPEG": _jpeg, "PNG": _png, "WebP": _webp, "BMP": _bmp}
