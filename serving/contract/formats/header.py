"""What an image file says of itself, and what the readers of all formats share."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from serving.errors import ImageUndecodable

Format = Literal["JPEG", "PNG", "WebP", "BMP"]

MAX_PARTS = 10_000
"""Most segments or chunks of one file. Photographs have tens; a PNG of 10 MB in chunks of 8 kB, libpng's own
buffer, has 1,300. Each costs a decoder about a microsecond, and libpng can write a line about each."""

_EXIF_PREFIX = b"Exif\x00\x00"
_ORIENTATION_TAG = 0x0112
_SHORT = 3


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Facts about an image file; none of them needs a decoded pixel."""

    format: Format
    """Recognised by content."""
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
    ended: bool = True
    """Whether the file has its end marker; a JPEG may lack it."""
    data_end: int | None = None
    """JPEG: where the data of its last scan end; None where an end marker follows several scans."""
    unneeded: tuple[tuple[int, int], ...] = ()
    """Parts (first byte, byte after the last) that reach no pixel and that a decoder would unpack."""

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height in px once the orientation is applied."""
        turned = self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def truncated(format: Format) -> ImageUndecodable:
    """The error of a file whose data end too early."""
    return ImageUndecodable(format=format, reason="it ends too early")


def too_many_parts(format: Format) -> ImageUndecodable:
    """The error of a file with more than `MAX_PARTS` segments or chunks."""
    return ImageUndecodable(format=format, reason=f"it has more than {MAX_PARTS} parts")


def exif_orientation(exif: bytes) -> int:
    """Orientation by the first directory (EXIF 2.32, 4.6.2); 1 where anything is wrong."""
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
