"""JPEG (ITU-T T.81), its markers found as libjpeg finds them.

Between segments libjpeg passes over everything that is not a marker: bytes without `FF`, fill bytes, and
`FF 00`, which has no length. A reader that takes the latter for a segment finds another size than libjpeg.
"""

from __future__ import annotations

import re
import struct

from serving.contract.formats.header import (
    MAX_PARTS,
    ImageHeader,
    exif_orientation,
    too_many_parts,
    truncated,
)
from serving.errors import ImageUndecodable

MAX_SCANS = 101
"""The first scan and 100 more; encoders write 10. In a file of 284 kB, 3,000 cost libjpeg 5 s."""
MAX_SCANNED_PIXELS = 1_000_000_000
"""Scans × width × height. Each scan but an only one walks through all coefficients, 1 ns for each pixel
without any data: 91 scans of 32 megapixels cost 4 s. `prepare` accepts 89 megapixels, which with an
encoder's 10 scans are 0.9 billion."""

# FF 00 is data, FF FF begins several fill bytes; TEM (01) and RST0–RST7 have no length and change nothing.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_SOF_SEQUENTIAL = frozenset({0xC0, 0xC1})
_SOF_PROGRESSIVE = 0xC2
# Lossless, hierarchical and arithmetic coding: no browser opens them, and arithmetic decoding goes on without
# data.
_SOF_OTHER = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
# DHT, DAC, DQT, DNL, DRI, APP0–APP15, COM: the others with a length are errors in libjpeg.
_PASSED_OVER = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE})
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_COEFFICIENTS = 64


class _Walk:
    """What the segments said so far."""

    def __init__(self) -> None:
        self.frame: tuple[int, int, int, int] | None = None
        """Bits per sample, height, width, components."""
        self.progressive = False
        self.exif = b""
        self.scans = 0
        self.interleaved = False
        """Whether the first scan has all components."""
        self.missing: dict[int, bytearray] = {}
        """By component: for each coefficient, whether bits of it are still to come."""

    @property
    def complete(self) -> bool:
        return not any(any(bits) for bits in self.missing.values())


def read(data: bytes) -> ImageHeader:
    """Header of a JPEG file.

    Raises:
        ImageUndecodable: it cannot be decoded, or only at a cost that no photograph has.
    """
    walk, position = _Walk(), 2
    for _ in range(MAX_PARTS):
        found = _MARKER.search(data, position)
        if found is None:
            return _header(walk, ended=False, data_end=len(data))
        start, marker = found.start(), data[found.start() + 1]
        if marker == _END_OF_IMAGE:
            return _header(walk, ended=True, data_end=None)
        (length,) = struct.unpack_from(">H", data, start + 2)
        position = start + 2 + max(length, 2)
        _take(walk, marker, data[start + 4 : position])
        if walk.scans and walk.interleaved and not walk.progressive:
            # The only scan: libjpeg reads until it has all pixels, and looks at nothing that follows.
            last = _MARKER.search(data, position)
            end = last.start() if last else len(data)
            return _header(walk, ended=data[end : end + 2] == b"\xff\xd9", data_end=end)
    raise too_many_parts("JPEG")


def _take(walk: _Walk, marker: int, body: bytes) -> None:
    if marker in _SOF_SEQUENTIAL or marker == _SOF_PROGRESSIVE:
        _take_frame(walk, body, progressive=marker == _SOF_PROGRESSIVE)
    elif marker == _START_OF_SCAN:
        _take_scan(walk, body)
    elif marker == _APP1:
        if body.startswith(b"Exif\x00\x00") and not walk.scans:
            walk.exif = body
    elif marker in _SOF_OTHER:
        raise ImageUndecodable(format="JPEG", reason=f"its coding (SOF{marker - 0xC0}) is not supported")
    elif marker not in _PASSED_OVER:
        raise ImageUndecodable(format="JPEG", reason=f"it has the marker {marker:02X}, which is not expected")


def _take_frame(walk: _Walk, body: bytes, *, progressive: bool) -> None:
    if walk.frame is not None:
        raise ImageUndecodable(format="JPEG", reason="it has two frame headers")
    walk.frame = struct.unpack_from(">BHHB", body)
    walk.progressive = progressive
    identifiers = body[6 : 6 + 3 * walk.frame[3] : 3]
    walk.missing = {identifier: bytearray(b"\x01" * _COEFFICIENTS) for identifier in identifiers}


def _take_scan(walk: _Walk, body: bytes) -> None:
    if walk.frame is None:
        raise ImageUndecodable(format="JPEG", reason="it has no frame header")
    walk.scans += 1
    if walk.scans > MAX_SCANS:
        raise ImageUndecodable(format="JPEG", reason=f"it has more than {MAX_SCANS} scans")
    _, height, width, _ = walk.frame
    if walk.scans > 1 and walk.scans * width * height > MAX_SCANNED_PIXELS:
        raise ImageUndecodable(
            format="JPEG", reason=f"its {walk.scans} scans are too many for {width}×{height} pixels"
        )
    count = body[0]
    if walk.scans == 1:
        walk.interleaved = count == walk.frame[3]
    first, last, bits = struct.unpack_from("BBB", body, 1 + 2 * count)
    if not walk.progressive:
        first, last, bits = 0, _COEFFICIENTS - 1, 0
    for identifier in body[1 : 1 + 2 * count : 2]:
        missing = walk.missing.get(identifier, bytearray(_COEFFICIENTS))
        # The lower four bits: how many bits of these coefficients later scans bring.
        missing[first : last + 1] = bytes([bits & 0x0F]) * len(missing[first : last + 1])


def _header(walk: _Walk, *, ended: bool, data_end: int | None) -> ImageHeader:
    if walk.frame is None:
        if not ended:
            raise truncated("JPEG")
        raise ImageUndecodable(format="JPEG", reason="it has no frame header")
    if not walk.scans or (not ended and not walk.complete):
        raise truncated("JPEG")
    depth, height, width, components = walk.frame
    mode = _MODES.get(components)
    if mode is None:
        raise ImageUndecodable(format="JPEG", reason=f"it has {components} colour components")
    return ImageHeader(
        format="JPEG",
        width=width,
        height=height,
        mode=mode,
        bit_depth=depth,
        alpha=False,
        orientation=exif_orientation(walk.exif) if walk.exif else 1,
        ended=ended,
        data_end=data_end,
    )
