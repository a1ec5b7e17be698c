"""Bytes to an upright RGB picture: the only decoder there is, `prepare` and the service both use it.

* The header is read and checked first; what is too large or animated is refused undecoded.
* EXIF orientation is applied here, alike for JPEG, PNG and WebP (OpenCV's own handling is off).
* Transparency is laid on white, the page such cut-outs are made to stand on; the colour hidden
  under transparent pixels is arbitrary and must not reach the network.
* 16-bit samples keep their upper 8 bits (as libpng does), gray is repeated, CMYK becomes RGB.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from serving.contract.arrays import Image
from serving.contract.formats.header import truncated
from serving.contract.image_headers import ImageHeader, read_header, unexpected
from serving.errors import ImageAnimated, ImageError, ImageTooLarge, ImageUndecodable
from serving.libraries import PIXEL_LIMIT_VARIABLE

_OPAQUE = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION,
    4: cv2.IMREAD_REDUCED_COLOR_4 | cv2.IMREAD_IGNORE_ORIENTATION,
    8: cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION,
}
_JPEG_END = b"\xff\xd9"
# Bits that a decoder turns into pixels where it still lacks some: SHA-256 of nothing, without FF.
_FURTHER_DATA = hashlib.sha256(b"").digest().replace(b"\xff", b"\x5a") * 128
# What libjpeg fills missing blocks with: all coefficients 0, the middle of the range.
_FILL = 128
# Rows are laid on white in bands of about this many pixels: their copies stay in the processor's cache, and a
# picture of 32 megapixels does not need its size four times more.
_BAND_PX = 64 * 1024
# This many zero bytes are not the end of a scan but of a file that was only partly written.
_FILL_BYTES = 64


def decode(data: bytes, *, max_pixels: int, min_side_px: int | None = None) -> Image:
    """Decode a JPEG, PNG, WebP or BMP file.

    Args:
        data: the file's bytes.
        max_pixels: width × height above which the file is refused, by its header; half of it where a
            channel has 16 bits.
        min_side_px: when set, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, in the DCT
            domain, as long as its shorter side stays at least this long. Faster, but the pixels
            differ slightly from those of a full decode; so neither `prepare` nor the service sets it.

    Returns:
        uint8 [height, width, 3], RGB, upright; a fresh array.

    Raises:
        ImageEmpty: zero bytes.
        ImageFormatUnknown: another format.
        ImageTooLarge: more than `max_pixels`.
        ImageAnimated: more than one frame.
        ImageUndecodable: truncated or corrupt.
    """
    return decode_with_header(data, max_pixels=max_pixels, min_side_px=min_side_px)[0]


def decode_with_header(
    data: bytes, *, max_pixels: int, min_side_px: int | None = None
) -> tuple[Image, ImageHeader]:
    """As `decode`, and what the header said: for those who record where a picture came from."""
    header = read_header(data)
    check_header(header, max_pixels=max_pixels)
    try:
        return upright(_uint8(_pixels(data, header, min_side_px)), header.orientation), header
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise unexpected(error, header.format) from error


def check_header(header: ImageHeader, *, max_pixels: int) -> None:
    """Refuse what should not be decoded.

    A 16-bit pixel counts twice: 32 megapixels of 16-bit RGBA took up to 2.7 s of one core. What is accepted
    takes less than 2 s (`python -m benchmarks.decoding`).

    Raises:
        ImageTooLarge: more than `max_pixels`.
        ImageAnimated: more than one frame.
    """
    limit = max_pixels // 2 if header.bit_depth > 8 else max_pixels
    if header.width * header.height > limit:
        raise ImageTooLarge(
            width=header.width, height=header.height, bit_depth=header.bit_depth, max_pixels=limit
        )
    if header.frames > 1:
        raise ImageAnimated(format=header.format)


def upright(image: Image, orientation: int) -> Image:
    """Apply an EXIF orientation (1–8, EXIF 2.32, table 6) so that the picture stands upright."""
    match orientation:
        case 2:
            turned = cv2.flip(image, 1)
        case 3:
            turned = cv2.rotate(image, cv2.ROTATE_180)
        case 4:
            turned = cv2.flip(image, 0)
        case 5:
            turned = cv2.transpose(image)
        case 6:
            turned = cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)
        case 7:
            turned = cv2.rotate(cv2.transpose(image), cv2.ROTATE_180)
        case 8:
            turned = cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE)
        case _:
            return image
    return _uint8(turned)


def _pixels(data: bytes, header: ImageHeader, min_side_px: int | None) -> NDArray[Any]:
    factor = _reduction(header, min_side_px)
    if factor > 1:
        return cv2.cvtColor(_whole(data, _REDUCED[factor], header), cv2.COLOR_BGR2RGB)
    if header.alpha:
        return _on_white(_whole(data, cv2.IMREAD_UNCHANGED, header), header)
    return _whole(data, _OPAQUE, header)


def _reduction(header: ImageHeader, min_side_px: int | None) -> int:
    if min_side_px is None or header.format != "JPEG" or header.mode == "CMYK":
        return 1
    side = min(header.width, header.height)
    return next((factor for factor in (8, 4, 2) if side // factor >= min_side_px), 1)


def _whole(data: bytes, flags: int, header: ImageHeader) -> NDArray[Any]:
    """The decoder's pixels, none of them made up for data that are missing."""
    if header.data_end is None:
        return _imdecode(_without(data, header.unneeded), flags, header)
    if header.ended:
        pixels = _imdecode(data, flags, header)
        if not _is_filled(pixels):
            return pixels
    # libjpeg fills what is missing without an error. Where nothing is, further data change no pixel.
    body = _without_fill(data[: header.data_end])
    if not header.ended:
        pixels = _imdecode(body + _JPEG_END, flags, header)
    further = _imdecode(body + _FURTHER_DATA + _JPEG_END, flags, header)
    if cv2.norm(pixels, further, cv2.NORM_INF) > 0:
        raise truncated(header.format)
    return pixels


def _without_fill(data: bytes) -> bytes:
    """JPEG data without what a copy that broke off leaves: half a marker, or zeros up to the full size."""
    shorter = data.rstrip(b"\x00")
    if len(data) - len(shorter) < _FILL_BYTES:
        shorter = data
    return shorter.rstrip(b"\xff")


def _without(data: bytes, parts: tuple[tuple[int, int], ...]) -> bytes:
    if not parts:
        return data
    starts, ends = (0, *(end for _, end in parts)), (*(start for start, _ in parts), len(data))
    return b"".join(data[start:end] for start, end in zip(starts, ends, strict=True))


def _is_filled(pixels: NDArray[Any]) -> bool:
    """Whether the last pixel has the colour that libjpeg gives to missing ones."""
    return bool((pixels[-1, -1] == _FILL).all())


def _imdecode(data: bytes, flags: int, header: ImageHeader) -> NDArray[Any]:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE_PIXELS" in error.err:
            raise ImageTooLarge(max_pixels=int(os.environ[PIXEL_LIMIT_VARIABLE])) from error
        reason = str(error).strip().splitlines()[0]
        raise ImageUndecodable(format=header.format, reason=reason) from error
    if pixels is None:
        raise ImageUndecodable(format=header.format, reason="its pixel data is corrupt")
    reduced = flags in _REDUCED.values()
    if not reduced and pixels.shape[:2] != (header.height, header.width):
        raise ImageUndecodable(format=header.format, reason="its size is not the one its header says")
    return pixels


def _on_white(pixels: NDArray[Any], header: ImageHeader) -> NDArray[Any]:
    """Lay BGRA, or gray with one transparent value, on white; any depth in, RGB uint8 out."""
    if pixels.ndim == 2:
        return _gray_on_white(pixels, header)
    height, width = pixels.shape[:2]
    laid = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BAND_PX // width)
    for top in range(0, height, rows):
        laid[top : top + rows] = _band_on_white(pixels[top : top + rows])
    return laid


def _band_on_white(pixels: NDArray[Any]) -> NDArray[Any]:
    pixels = _upper_bits(pixels)
    if pixels.shape[2] == 3:  # transparency was announced, but no pixel can have it
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    rgb, alpha = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB), cv2.extractChannel(pixels, 3)
    if alpha.min() == 255:
        return rgb
    opacity = cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB)
    return cv2.add(cv2.multiply(rgb, opacity, scale=1 / 255), cv2.bitwise_not(opacity))


def _upper_bits(pixels: NDArray[Any]) -> NDArray[Any]:
    """Samples of 8 bits: of 16 the upper ones, as libpng keeps them."""
    if pixels.dtype == np.uint8:
        return pixels
    return np.ascontiguousarray(pixels.astype("<u2", copy=False).view(np.uint8)[..., 1::2])


def _gray_on_white(pixels: NDArray[Any], header: ImageHeader) -> NDArray[Any]:
    key = header.transparent_gray
    if key is not None:
        # libpng spreads 1, 2 and 4 bits over 0–255.
        value = key if header.bit_depth >= 8 else key * 255 // ((1 << header.bit_depth) - 1)
        pixels = np.where(pixels == value, np.iinfo(pixels.dtype).max, pixels)
    if pixels.dtype == np.uint16:
        pixels = pixels >> 8
    return cv2.cvtColor(pixels.astype(np.uint8), cv2.COLOR_GRAY2RGB)


def _uint8(pixels: NDArray[Any]) -> Image:
    # OpenCV's stubs name a wider dtype; what arrives here is uint8.
    return np.ascontiguousarray(pixels, dtype=np.uint8)
