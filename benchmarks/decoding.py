"""`python -m benchmarks.decoding`: processor seconds that the costliest accepted pictures take; a minute.

Every picture has as many pixels as the service accepts by default. As many of its rows are noise as fit into
the largest accepted file, since noise costs a decoder most. Wanted: below 2 s each.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from serving.libraries import limit_opencv
from serving.settings import Settings

# Divisors of the sides: 8000 × 4000 are 32 megapixels, a 16-bit pixel counts twice.
_WIDTH, _HEIGHT = 8_000, 4_000


def main() -> None:
    """Measure and print."""
    settings = Settings()
    limit_opencv(settings.max_pixels)
    from serving.contract import decode  # loads OpenCV, which reads the limit once

    for name, file in _files(settings.max_bytes):
        begun = time.process_time()
        decode(file, max_pixels=settings.max_pixels)
        print(f"{name:20}{len(file) / 1e6:8.1f} MB{time.process_time() - begun:8.2f} s", flush=True)


def _files(max_bytes: int) -> Iterator[tuple[str, bytes]]:
    for channels, name in ((1, "gray"), (3, "RGB"), (4, "RGBA")):
        for dtype, width in ((np.uint8, _WIDTH), (np.uint16, _WIDTH // 2)):
            bits = 8 * np.dtype(dtype).itemsize
            yield f"PNG, {bits}-bit {name}", _largest(".png", max_bytes, (_HEIGHT, width, channels), dtype)
    shape = (_HEIGHT, _WIDTH, 3)
    yield "JPEG", _largest(".jpg", max_bytes, shape)
    yield "JPEG, progressive", _largest(".jpg", max_bytes, shape, options=(cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    yield "WebP", _largest(".webp", max_bytes, shape, options=(cv2.IMWRITE_WEBP_QUALITY, 80))
    yield "WebP, lossless", _largest(".webp", max_bytes, shape, options=(cv2.IMWRITE_WEBP_QUALITY, 101))
    yield "BMP, 1 bit", _bilevel_bmp(_WIDTH, _HEIGHT)


def _largest(
    suffix: str,
    max_bytes: int,
    shape: tuple[int, int, int],
    dtype: type[np.uint8 | np.uint16] = np.uint8,
    *,
    options: tuple[int, ...] = (),
) -> bytes:
    """A picture of this shape with noise in as many of its rows as the file may hold."""
    height, width, channels = shape
    band = height // 20
    cost = len(_encoded(_noise(band, width, channels, dtype), suffix, options)) / band
    rows = min(height, int(0.9 * max_bytes / cost))
    picture = np.zeros(shape, dtype)
    picture[:rows] = _noise(rows, width, channels, dtype)
    return _encoded(picture, suffix, options)


def _noise(
    height: int, width: int, channels: int, dtype: type[np.uint8 | np.uint16]
) -> NDArray[np.uint8 | np.uint16]:
    draw = np.random.default_rng(0)
    return draw.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


def _encoded(picture: NDArray[np.uint8 | np.uint16], suffix: str, options: tuple[int, ...]) -> bytes:
    written, file = cv2.imencode(suffix, picture, options)
    if not written:
        raise RuntimeError(
            f"OpenCV could not write a {suffix} file; check that it was built with that format"
        )
    return file.tobytes()


def _bilevel_bmp(width: int, height: int) -> bytes:
    """Uncompressed, two colours: the only BMP of this size below 10 MB."""
    row = (width + 31) // 32 * 4
    offset, pixels = 62, np.random.default_rng(0).bytes(row * height)
    head = struct.pack("<2sIII", b"BM", offset + len(pixels), 0, offset)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 1, 0, len(pixels), 0, 0, 2, 0)
    return head + info + bytes((0, 0, 0, 0, 255, 255, 255, 0)) + pixels


if __name__ == "__main__":
    main()
