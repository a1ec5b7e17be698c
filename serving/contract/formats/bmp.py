"""BMP of Windows (40 bytes of header and more) and OS/2 (12 bytes), as OpenCV reads it."""

from __future__ import annotations

import struct

from serving.contract.formats.header import ImageHeader, truncated
from serving.errors import ImageUndecodable

_CORE_HEADER, _INFO_HEADER = 12, 36
_UNCOMPRESSED, _BITFIELDS, _ALPHA_BITFIELDS = 0, 3, 6
_MAX_COLORS = 256


def read(data: bytes) -> ImageHeader:
    """Header of a BMP file.

    Raises:
        ImageUndecodable: it cannot be decoded.
    """
    offset, size = struct.unpack_from("<II", data, 10)
    if size == _CORE_HEADER:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression, colors, entry = _UNCOMPRESSED, 0, 3
    elif size >= _INFO_HEADER:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        (colors,) = struct.unpack_from("<I", data, 46)
        entry = 4
    else:
        raise ImageUndecodable(format="BMP", reason=f"its header has {size} bytes")
    if compression in (_UNCOMPRESSED, _BITFIELDS, _ALPHA_BITFIELDS):
        stride = (width * bits + 31) // 32 * 4
        if len(data) < offset + stride * abs(height):
            raise truncated("BMP")
    alpha = bits == 32 and compression in (_BITFIELDS, _ALPHA_BITFIELDS) and _has_alpha_mask(data, size)
    return ImageHeader(
        format="BMP",
        width=width,
        height=abs(height),
        mode=_mode(bits, _palette(data, size, bits, colors=colors, entry=entry), entry=entry, alpha=alpha),
        bit_depth=bits if bits <= 8 else 8,
        alpha=alpha,
    )


def _palette(data: bytes, size: int, bits: int, *, colors: int, entry: int) -> bytes:
    if bits > 8:
        return b""
    if colors > _MAX_COLORS:
        raise ImageUndecodable(
            format="BMP", reason=f"its palette has {colors} colours, at most {_MAX_COLORS} are possible"
        )
    return data[14 + size : 14 + size + entry * (colors or 1 << bits)]


def _has_alpha_mask(data: bytes, size: int) -> bool:
    # The fourth mask follows the three colour masks, in the header from V3 (56 bytes) on.
    return size >= 56 and struct.unpack_from("<I", data, 66)[0] != 0


def _mode(bits: int, palette: bytes, *, entry: int, alpha: bool) -> str:
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
