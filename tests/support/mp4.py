"""Edits of MP4 files (ISO/IEC 14496-12) that OpenCV cannot make: rotation, variable rate, index in front.

The files are those of `cv2.VideoWriter`: one track, its samples in decoding order, `moov` behind `mdat`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

_CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
# Display matrices of tkhd for clockwise turns, as phones write them; the last row and column are constant.
_MATRICES = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def rotate(path: Path, degrees: int) -> None:
    """Have players turn the picture clockwise by 90, 180 or 270 degrees."""
    a, b, c, d = _MATRICES[degrees]
    one = 1 << 16
    matrix = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)

    def turn(body: bytes) -> bytes:
        # Version 0: flags, times, track, reserved, duration, reserved, layer, group, volume, reserved.
        return body[:40] + matrix + body[40 + len(matrix) :]

    _edit(path, {b"tkhd": turn})


def set_durations(path: Path, durations: Sequence[float]) -> None:
    """Give each frame a duration of its own, seconds."""
    data = path.read_bytes()
    at = data.index(b"mdhd") + 4
    (scale,) = struct.unpack_from(">I", data, at + 12)
    ticks = [round(duration * scale) for duration in durations]
    table = struct.pack(">II", 0, len(ticks)) + b"".join(struct.pack(">II", 1, tick) for tick in ticks)
    _edit(path, {b"stts": lambda body: table, b"edts": lambda body: body[:0]})


def put_index_first(path: Path) -> None:
    """Move `moov` before `mdat`, as files for the web have it; a cut file then still has its index."""
    boxes = dict(_boxes(path.read_bytes()))
    shift = len(boxes[b"moov"]) + 8
    moov = _edited(boxes[b"moov"], {b"stco": lambda body: _shifted(body, shift)})
    order = [(b"ftyp", boxes[b"ftyp"]), (b"moov", moov)]
    order += [(name, body) for name, body in boxes.items() if name not in (b"ftyp", b"moov")]
    path.write_bytes(b"".join(_box(name, body) for name, body in order))


def _shifted(body: bytes, shift: int) -> bytes:
    count = struct.unpack_from(">I", body, 4)[0]
    offsets = struct.unpack_from(f">{count}I", body, 8)
    return body[:8] + struct.pack(f">{count}I", *(offset + shift for offset in offsets))


def _edit(path: Path, edits: dict[bytes, object]) -> None:
    path.write_bytes(_edited(path.read_bytes(), edits))


def _edited(data: bytes, edits: dict[bytes, object]) -> bytes:
    parts = []
    for name, body in _boxes(data):
        edit = edits.get(name)
        if callable(edit):
            body = edit(body)
        elif name in _CONTAINERS:
            body = _edited(body, edits)
        parts.append(_box(name, body))
    return b"".join(parts)


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        found.append((name, data[at + 8 : at + size]))
        at += size
    return found


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, name) + body
