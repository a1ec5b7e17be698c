"""What an image file says of itself, read from its structure in microseconds.

A 140 kB PNG can decode to 700 MB, so size, frames and depth are known, and can be refused, before
a single pixel is decoded. The format is recognised by content, never by a file name.
"""

from __future__ import annotations

import logging
import struct

from serving.contract.formats import bmp, jpeg, png, webp
from serving.contract.formats.header import Format, ImageHeader, truncated
from serving.errors import ImageEmpty, ImageError, ImageFormatUnknown, ImageUndecodable

__all__ = ["ImageHeader", "read_header", "unexpected"]

_logger = logging.getLogger(__name__)
_READERS = {"JPEG": jpeg.read, "PNG": png.read, "WebP": webp.read, "BMP": bmp.read}
# Where each unexpected exception came from; every one is a fault of this package and few are possible.
_logged: set[str] = set()

# First bytes of what people send instead; the numbers of the formats' own specifications.
_OTHER_FORMATS = (
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
)
# ISO/IEC 23008-12: major and compatible brands of an ISO base media file.
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})


def read_header(data: bytes) -> ImageHeader:
    """Read the header of a JPEG, PNG, WebP or BMP file, and check that the file is whole.

    A JPEG without its end marker passes; whether its pixels are complete is known when it is decoded.

    Raises:
        ImageEmpty: zero bytes.
        ImageFormatUnknown: another format.
        ImageUndecodable: the header is corrupt, the data ends too early, or its parts are too many.
    """
    if not data:
        raise ImageEmpty
    if data[:3] == b"\xff\xd8\xff":
        return _read("JPEG", data)
    if data[:8] == png.SIGNATURE:
        return _read("PNG", data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _read("WebP", data)
    if data[:2] == b"BM" and len(data) > 18:
        return _read("BMP", data)
    raise ImageFormatUnknown(head=data[:8], recognised=_other_format(data))


def unexpected(error: Exception, format: Format) -> ImageUndecodable:
    """The error for an exception that no reader raises on purpose; the log gets its traceback once."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{type(error).__name__}:{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    if place not in _logged:
        _logged.add(place)
        _logger.error("a %s file could not be read, which is a fault of this program", format, exc_info=error)
    return ImageUndecodable(format=format, reason=f"its reader failed with {type(error).__name__}")


def _read(format: Format, data: bytes) -> ImageHeader:
    try:
        header = _READERS[format](data)
    except (struct.error, IndexError) as error:
        raise truncated(format) from error
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise unexpected(error, format) from error
    if header.width < 1 or header.height < 1:
        raise ImageUndecodable(format=format, reason=f"its size is {header.width}×{header.height}")
    return header


def _other_format(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        (length,) = struct.unpack_from(">I", data)
        # The minor version, between the major brand and the others, is not a brand's four letters.
        brands = {data[index : index + 4] for index in range(8, min(length, 64), 4)}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIC_BRANDS:
            return "HEIC"
    return next((name for head, name in _OTHER_FORMATS if data.startswith(head)), None)
