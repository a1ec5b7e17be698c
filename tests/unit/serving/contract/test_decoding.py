from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.contract import decode, decode_with_header
from serving.contract.decoding import upright
from serving.errors import ImageAnimated, ImageError, ImageTooLarge, ImageUndecodable
from tests.support.pictures import Pixels, animated, encoded, pillow_rgb, png, textured

PICTURE = textured(3, width=40, height=32)
MAX_PIXELS = 10_000


def translucent() -> Pixels:
    alpha = np.linspace(0, 255, PICTURE.shape[1], dtype=np.uint8)
    return np.dstack([PICTURE, np.broadcast_to(alpha, PICTURE.shape[:2])])


@pytest.mark.parametrize(
    ("format", "pixels", "options", "tolerance"),
    [
        pytest.param("PNG", PICTURE, {}, 0, id="png"),
        pytest.param("PNG", PICTURE, {"mode": "L"}, 0, id="png-gray"),
        pytest.param("PNG", PICTURE, {"mode": "1"}, 0, id="png-bilevel"),
        pytest.param("PNG", PICTURE, {"mode": "P"}, 0, id="png-palette"),
        pytest.param("PNG", translucent(), {}, 1, id="png-alpha"),
        pytest.param("PNG", translucent(), {"mode": "LA"}, 1, id="png-gray-alpha"),
        pytest.param("PNG", PICTURE, {"mode": "RGBA"}, 0, id="png-opaque-alpha"),
        pytest.param("WEBP", PICTURE, {"lossless": True}, 0, id="webp-lossless"),
        pytest.param("WEBP", translucent(), {"lossless": True, "exact": True}, 1, id="webp-alpha"),
        pytest.param("WEBP", PICTURE, {}, 0, id="webp-lossy"),
        pytest.param("BMP", PICTURE, {}, 0, id="bmp"),
        pytest.param("BMP", PICTURE, {"mode": "P"}, 0, id="bmp-palette"),
        pytest.param("BMP", PICTURE, {"mode": "1"}, 0, id="bmp-bilevel"),
        pytest.param("BMP", PICTURE, {"mode": "L"}, 0, id="bmp-gray"),
        # Two JPEG decoders may differ by rounding.
        pytest.param("JPEG", PICTURE, {}, 2, id="jpeg"),
        pytest.param("JPEG", PICTURE, {"mode": "L"}, 2, id="jpeg-gray"),
        pytest.param("JPEG", PICTURE, {"mode": "CMYK", "quality": 95}, 3, id="jpeg-cmyk"),
        pytest.param("JPEG", PICTURE, {"progressive": True}, 2, id="jpeg-progressive"),
        pytest.param("JPEG", PICTURE, {"subsampling": 0}, 2, id="jpeg-444"),
    ],
)
def test_decoding_agrees_with_pillow(
    format: str, pixels: Pixels, options: dict[str, object], tolerance: int
) -> None:
    data = encoded(pixels, format, **options)
    image = decode(data, max_pixels=MAX_PIXELS)
    assert image.dtype == np.uint8
    assert image.shape == (32, 40, 3)
    assert image.flags.c_contiguous
    difference = np.abs(image.astype(int) - pillow_rgb(data).astype(int))
    assert difference.max() <= tolerance


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright_like_pillow_does(format: str, orientation: int) -> None:
    options: dict[str, object] = {"quality": 95} if format == "JPEG" else {}
    if format == "WEBP":
        options["lossless"] = True
    data = encoded(PICTURE, format, orientation=orientation, **options)
    image, header = decode_with_header(data, max_pixels=MAX_PIXELS)
    assert header.orientation == orientation
    assert image.shape[1::-1] == header.upright_size
    assert np.abs(image.astype(int) - pillow_rgb(data).astype(int)).max() <= 2


def test_transparent_pixels_become_white_for_every_hidden_colour() -> None:
    hidden = np.zeros((4, 4, 4), np.uint8)
    hidden[..., 0] = 200
    assert (decode(encoded(hidden), max_pixels=MAX_PIXELS) == 255).all()


def test_half_transparent_black_becomes_middle_gray() -> None:
    veil = np.zeros((2, 2, 4), np.uint8)
    veil[..., 3] = 128
    assert (decode(encoded(veil), max_pixels=MAX_PIXELS) == 127).all()


@pytest.mark.parametrize(
    ("color", "samples", "expected"),
    [
        pytest.param(0, [0x1234], (0x12, 0x12, 0x12), id="gray"),
        pytest.param(2, [0x1234, 0x80FF, 0xFF00], (0x12, 0x80, 0xFF), id="rgb"),
        pytest.param(6, [0x1234, 0x80FF, 0xFF00, 0xFFFF], (0x12, 0x80, 0xFF), id="rgba-opaque"),
        pytest.param(4, [0x1234, 0x0000], (255, 255, 255), id="gray-transparent"),
    ],
)
def test_sixteen_bits_keep_the_upper_eight(
    color: int, samples: list[int], expected: tuple[int, int, int]
) -> None:
    data = png(1, 1, depth=16, color=color, rows=[struct.pack(f">{len(samples)}H", *samples)])
    assert tuple(decode(data, max_pixels=MAX_PIXELS)[0, 0].tolist()) == expected


@pytest.mark.parametrize(
    ("depth", "key", "row", "expected"),
    [
        pytest.param(8, b"\x00\x07", b"\x07\x09", [255, 9], id="8-bit"),
        pytest.param(2, b"\x00\x01", b"\x1b", [0, 255, 170, 255], id="2-bit"),
        pytest.param(16, b"\x12\x34", b"\x12\x34\x12\x35", [255, 0x12], id="16-bit"),
    ],
)
def test_gray_declared_transparent_becomes_white(
    depth: int, key: bytes, row: bytes, expected: list[int]
) -> None:
    data = png(len(expected), 1, depth=depth, color=0, rows=[row], chunks=[(b"tRNS", key)])
    assert decode(data, max_pixels=MAX_PIXELS)[0, :, 0].tolist() == expected


def test_colour_declared_transparent_becomes_white() -> None:
    data = png(2, 1, depth=8, color=2, rows=[b"\1\2\3\4\5\6"], chunks=[(b"tRNS", b"\0\1\0\2\0\3")])
    assert decode(data, max_pixels=MAX_PIXELS)[0].tolist() == [[255, 255, 255], [4, 5, 6]]


def test_translucent_palette_is_laid_on_white() -> None:
    chunks = [(b"PLTE", bytes([10, 20, 30, 40, 50, 60])), (b"tRNS", b"\x00")]
    data = png(2, 1, depth=8, color=3, rows=[b"\0\1"], chunks=chunks)
    assert decode(data, max_pixels=MAX_PIXELS)[0].tolist() == [[255, 255, 255], [40, 50, 60]]


def test_too_many_pixels_are_refused_by_the_header_alone() -> None:
    # 144 bytes that announce 2.5 GB of pixels; decoding them would fail in another way.
    bomb = png(30_000, 30_000, depth=8, color=2, rows=[b""])
    with pytest.raises(ImageTooLarge, match="30000×30000") as caught:
        decode(bomb, max_pixels=MAX_PIXELS)
    assert caught.value.max_pixels == MAX_PIXELS


def test_as_many_pixels_as_allowed_are_decoded() -> None:
    assert decode(encoded(PICTURE), max_pixels=40 * 32).shape == (32, 40, 3)
    with pytest.raises(ImageTooLarge):
        decode(encoded(PICTURE), max_pixels=40 * 32 - 1)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_animations_are_refused(format: str) -> None:
    with pytest.raises(ImageAnimated, match="one still image"):
        decode(animated(format), max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("rest", [b"", bytes(10_000)], ids=["cut", "filled-with-zeros"])
@pytest.mark.parametrize("progressive", [False, True])
def test_half_a_jpeg_is_refused_and_not_filled_with_gray(progressive: bool, rest: bytes) -> None:
    data = encoded(textured(5, width=100, height=90), "JPEG", quality=95, progressive=progressive)
    with pytest.raises(ImageUndecodable, match="ends too early"):
        decode(data[: len(data) // 2] + rest, max_pixels=MAX_PIXELS)


def test_png_with_too_few_rows_is_refused() -> None:
    data = png(4, 4, depth=8, color=0, rows=[b"\1\2\3\4"] * 2)
    with pytest.raises(ImageUndecodable, match="PNG data cannot be decoded"):
        decode(data, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_flipped_bits_are_refused(format: str) -> None:
    data = bytearray(encoded(PICTURE, format, **({"lossless": True} if format == "WEBP" else {})))
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(byte ^ 0xFF for byte in data[middle : middle + 40])
    with pytest.raises(ImageUndecodable):
        decode(bytes(data), max_pixels=MAX_PIXELS)


@settings(max_examples=200)
@given(
    format=st.sampled_from(["JPEG", "PNG", "WEBP", "BMP"]),
    position=st.floats(0, 1, exclude_max=True),
    noise=st.binary(min_size=1, max_size=6),
)
def test_damaged_files_give_a_picture_or_an_image_error(format: str, position: float, noise: bytes) -> None:
    data = bytearray(encoded(textured(2, width=24, height=16), format))
    start = int(position * len(data))
    data[start : start + len(noise)] = noise
    try:
        image = decode(bytes(data), max_pixels=MAX_PIXELS)
    except ImageError:
        return
    assert image.ndim == 3
    assert image.shape[2] == 3


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM"]))
def test_random_bytes_never_escape_as_another_error(data: bytes, prefix: bytes) -> None:
    with pytest.raises(ImageError):
        decode(prefix + data, max_pixels=MAX_PIXELS)


def test_jpeg_can_be_decoded_smaller_but_never_below_what_is_needed() -> None:
    data = encoded(textured(9, width=640, height=480), "JPEG")
    sides = {need: decode(data, max_pixels=10**6, min_side_px=need).shape[0] for need in (500, 240, 120, 60)}
    assert sides == {500: 480, 240: 240, 120: 120, 60: 60}
    full, half = decode(data, max_pixels=10**6), decode(data, max_pixels=10**6, min_side_px=200)
    assert np.abs(full[::2, ::2].astype(int) - half.astype(int)).mean() < 3


def test_other_formats_ignore_the_wish_for_a_smaller_picture() -> None:
    assert decode(encoded(PICTURE), max_pixels=MAX_PIXELS, min_side_px=4).shape == (32, 40, 3)


def test_mirroring_twice_gives_the_picture_back() -> None:
    for orientation in (2, 3, 4, 5, 7):
        assert (upright(upright(PICTURE, orientation), orientation) == PICTURE).all()
    assert (upright(upright(PICTURE, 6), 8) == PICTURE).all()
