"""Pictures made for tests: textured ones, a drawn face, and files of every kind, written by Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

Pixels = NDArray[np.uint8]


def textured(seed: int, *, width: int = 40, height: int = 32) -> Pixels:
    """A smooth random picture, uint8 [height, width, 3] RGB: no two seeds look alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def colored(number: int, *, width: int = 40, height: int = 32) -> Pixels:
    """A picture in one of three colours, whose embeddings the test model tells apart, [height, width, 3]."""
    pixels = textured(number, width=width, height=height).copy()
    pixels[..., [channel for channel in range(3) if channel != number % 3]] //= 8
    return pixels


def encoded(pixels: Pixels, format: str = "PNG", **options: Any) -> bytes:
    """The bytes of a file that Pillow writes; `mode` converts first, an `orientation` is put into EXIF."""
    picture = Pillow.fromarray(pixels)
    if mode := options.pop("mode", None):
        picture = picture.convert(mode)
    if orientation := options.pop("orientation", None):
        exif = Pillow.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif.tobytes()
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def animated(format: str) -> bytes:
    """Two different frames in one file."""
    stream = io.BytesIO()
    first, second = (Pillow.fromarray(textured(seed)) for seed in (1, 2))
    first.save(stream, format, save_all=True, append_images=[second])
    return stream.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    """One chunk of a PNG file, with its checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    width: int,
    height: int,
    *,
    depth: int,
    color: int,
    rows: Sequence[bytes],
    chunks: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """A PNG file built by hand, for kinds that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", header),
            *(png_chunk(*item) for item in chunks),
            png_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))),
            png_chunk(b"IEND", b""),
        ]
    )


def pillow_rgb(data: bytes) -> Pixels:
    """What Pillow makes of a file, upright and on white: the other opinion."""
    from PIL import ImageOps

    picture = ImageOps.exif_transpose(Pillow.open(io.BytesIO(data)))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Pillow.new("RGBA", picture.size, "white")
        picture = Pillow.alpha_composite(white, picture)
    return np.asarray(picture.convert("RGB"))


def write_picture(path: Path, pixels: Pixels, **options: Any) -> Path:
    """Write a file whose format its suffix names; parent folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    format = {".jpg": "JPEG", ".webp": "WEBP"}.get(path.suffix, path.suffix[1:].upper())
    path.write_bytes(encoded(pixels, format, **options))
    return path


def drawn_face(side: int) -> Pixels:
    """A frontal face simple enough to be drawn with ellipses and plain enough for a detector to find."""
    skin, dark, socket = (225, 180, 150), (60, 40, 30), (150, 105, 85)
    canvas = np.full((side, side, 3), (150, 170, 190), np.uint8)

    def ellipse(x: float, y: float, width: float, height: float, color: tuple[int, int, int]) -> None:
        center, axes = (int(x * side), int(y * side)), (int(width * side), int(height * side))
        cv2.ellipse(canvas, center, axes, 0, 0, 360, color, -1, cv2.LINE_AA)

    ellipse(0.5, 0.42, 0.40, 0.42, dark)  # hair
    ellipse(0.5, 0.52, 0.34, 0.42, skin)
    for x in (0.36, 0.64):
        ellipse(x, 0.44, 0.095, 0.05, socket)
        ellipse(x, 0.45, 0.07, 0.03, (245, 240, 235))
        ellipse(x, 0.45, 0.03, 0.03, (40, 30, 25))
        ellipse(x, 0.385, 0.10, 0.02, dark)  # brow
    ellipse(0.5, 0.56, 0.035, 0.10, (240, 200, 170))  # nose
    ellipse(0.5, 0.64, 0.06, 0.018, socket)
    ellipse(0.5, 0.755, 0.12, 0.03, (150, 60, 60))  # mouth
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), side / 100), np.uint8)
