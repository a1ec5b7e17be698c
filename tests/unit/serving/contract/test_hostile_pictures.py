"""Files that are small and would cost a decoder seconds or gigabytes, and files that only look broken."""

from __future__ import annotations

import time
import zlib
from contextlib import suppress

import numpy as np
import pytest

from serving.contract import decode
from serving.errors import ImageError, ImageTooLarge, ImageUndecodable
from tests.support.hostile_pictures import (
    PICTURE,
    between_segments,
    bmp_of_257_grays,
    jpeg_of_two_sizes,
    progressive,
    webp_with_a_later_canvas,
    with_trailer,
)
from tests.support.pictures import encoded, png, png_chunk

MAX_PIXELS = 32_000_000
LONGEST_S = 2.0


def cost_s(data: bytes) -> float:
    """Processor seconds until a file is decoded or refused."""
    begun = time.process_time()
    with suppress(ImageError):
        decode(data, max_pixels=MAX_PIXELS)
    return time.process_time() - begun


@pytest.mark.parametrize(
    ("data", "size"),
    [
        pytest.param(jpeg_of_two_sizes(), (30_000, 30_000), id="jpeg-stuffed-zero-between-segments"),
        pytest.param(webp_with_a_later_canvas(16_000, 16_000), (16_000, 16_000), id="webp-later-vp8x"),
    ],
)
def test_the_size_that_counts_is_the_one_that_the_decoder_reads(data: bytes, size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLarge) as caught:
        decode(data, max_pixels=MAX_PIXELS)
    assert (caught.value.width, caught.value.height) == size


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(progressive(3_000), id="jpeg-scans"),
        pytest.param(
            encoded(PICTURE, "JPEG").replace(b"\xff\xdb", b"\xff\xfe\0\2" * 11_000 + b"\xff\xdb", 1),
            id="jpeg-segments",
        ),
        pytest.param(
            png(4, 4, depth=8, color=0, rows=[bytes(4)] * 4, chunks=[(b"tEXt", b"a\0")] * 10_000),
            id="png-chunks",
        ),
        pytest.param(
            png(4, 4, depth=8, color=0, rows=[bytes(1 << 20)] * 600), id="png-pixels-beyond-the-last-row"
        ),
        pytest.param(
            encoded(PICTURE)[:33] + png_chunk(b"IEND", b"") + b"\x7f\xff\xff\xf0IDAT", id="png-without-pixels"
        ),
    ],
)
def test_what_no_picture_has_is_refused_at_once(data: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(ImageUndecodable):
        decode(data, max_pixels=MAX_PIXELS)
    assert time.process_time() - begun < LONGEST_S


def test_arithmetic_coding_is_refused() -> None:
    data = encoded(PICTURE, "JPEG").replace(b"\xff\xc0", b"\xff\xc9")
    with pytest.raises(ImageUndecodable, match="SOF9"):
        decode(data, max_pixels=MAX_PIXELS)


def test_a_hundred_scans_after_the_first_are_allowed_and_cheap() -> None:
    data = progressive(90)
    assert decode(data, max_pixels=MAX_PIXELS).shape == (2_000, 2_000, 3)
    assert cost_s(data) < LONGEST_S


def test_scans_of_a_large_picture_are_bounded_by_their_work() -> None:
    # 60 scans of 25 megapixels: each alone is allowed.
    with pytest.raises(ImageUndecodable, match="scans"):
        decode(progressive(50, side=5_000), max_pixels=MAX_PIXELS)
    assert decode(progressive(10, side=5_000), max_pixels=MAX_PIXELS).shape == (5_000, 5_000, 3)


def test_fill_bytes_are_passed_over_at_once() -> None:
    data = encoded(PICTURE, "JPEG")
    filled = data[:2] + b"\xff" * 10_000_000 + data[2:]
    assert (decode(filled, max_pixels=MAX_PIXELS) == decode(data, max_pixels=MAX_PIXELS)).all()
    assert cost_s(filled) < LONGEST_S


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_compressed_text_is_not_unpacked_and_changes_no_pixel(kind: bytes) -> None:
    packed = zlib.compress(bytes(7_900_000), 9)
    head = b"a\0\1\0\0\0" if kind == b"iTXt" else b"a\0\0"
    plain = encoded(PICTURE)
    # Each costs libpng 40 ms.
    hostile = plain[:33] + png_chunk(kind, head + packed) * 400 + plain[33:]
    assert (decode(hostile, max_pixels=MAX_PIXELS) == decode(plain, max_pixels=MAX_PIXELS)).all()
    assert cost_s(hostile) < LONGEST_S


def test_a_large_png_with_just_its_own_pixels_is_measured_and_accepted() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)
    data = encoded(noise)
    assert len(data) > 1_000_000
    assert (decode(data, max_pixels=MAX_PIXELS) == noise).all()


@pytest.mark.parametrize("color", [0, 2, 4, 6], ids=["gray", "rgb", "gray-alpha", "rgba"])
def test_a_16_bit_pixel_counts_twice(color: int) -> None:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[color]
    data = png(20, 10, depth=16, color=color, rows=[bytes(20 * channels * 2)] * 10)
    assert decode(data, max_pixels=400).shape == (10, 20, 3)
    with pytest.raises(ImageTooLarge) as caught:
        decode(data, max_pixels=399)
    assert (caught.value.width, caught.value.height) == (20, 10)
    assert (caught.value.bit_depth, caught.value.max_pixels) == (16, 199)


def test_a_palette_of_257_grays_is_refused() -> None:
    with pytest.raises(ImageUndecodable, match="257"):
        decode(bmp_of_257_grays(), max_pixels=MAX_PIXELS)


JPEGS = {
    "baseline": encoded(PICTURE, "JPEG", quality=92),
    "gray": encoded(PICTURE, "JPEG", mode="L"),
    "cmyk": encoded(PICTURE, "JPEG", mode="CMYK"),
    "progressive": encoded(PICTURE, "JPEG", progressive=True),
    "optimized": encoded(PICTURE, "JPEG", optimize=True),
    "restarts": encoded(PICTURE, "JPEG", restart_marker_blocks=3),
    "gray-fill-colour": encoded(np.full((64, 64, 3), 128, np.uint8), "JPEG"),
}


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(lambda data: data[:-2], id="without-end"),
        pytest.param(lambda data: data[:-1], id="half-an-end"),
        pytest.param(with_trailer, id="trailer"),
        pytest.param(lambda data: between_segments(data, b"\0"), id="stray-byte"),
        pytest.param(lambda data: between_segments(data, b"\xff\0\1\2\xff\xff"), id="stuffed-zero-and-fill"),
    ],
)
def test_a_complete_jpeg_with_a_flaw_has_the_pixels_of_the_intact_one(kind: str, changed: object) -> None:
    assert callable(changed)
    data = JPEGS[kind]
    assert (decode(changed(data), max_pixels=MAX_PIXELS) == decode(data, max_pixels=MAX_PIXELS)).all()


CUT = [(kind, rest) for kind in JPEGS if kind != "gray-fill-colour" for rest in ("", "zeros", "fill-bytes")]
# What other kinds lack looks like a coarser picture or another colour: an end marker says that it was meant.
CUT_AND_ENDED = [(kind, "end-marker") for kind in ("baseline", "gray", "optimized")]
REST = {"": b"", "zeros": bytes(20_000), "fill-bytes": b"\xff" * 500, "end-marker": b"\xff\xd9"}


@pytest.mark.parametrize(("kind", "rest"), [*CUT, *CUT_AND_ENDED])
@pytest.mark.parametrize("fraction", [0.5, 0.75, 0.95])
def test_part_of_a_jpeg_stays_an_error(kind: str, rest: str, fraction: float) -> None:
    data = JPEGS[kind]
    scan = data.index(b"\xff\xda")
    cut = data[: scan + 14 + int((len(data) - scan - 16) * fraction)]
    with pytest.raises(ImageUndecodable):
        decode(cut + REST[rest], max_pixels=MAX_PIXELS)
