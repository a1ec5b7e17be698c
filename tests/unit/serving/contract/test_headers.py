from __future__ import annotations

import io
import struct

import pytest
from PIL import Image as Pillow

from serving.contract import decode, read_header
from serving.errors import ImageEmpty, ImageFormatUnknown, ImageUndecodable
from tests.support.pictures import animated, encoded, png, textured

PICTURE = textured(7, width=40, height=32)


@pytest.mark.parametrize(
    ("format", "options"),
    [
        pytest.param("JPEG", {}, id="jpeg"),
        pytest.param("JPEG", {"mode": "L"}, id="jpeg-gray"),
        pytest.param("JPEG", {"mode": "CMYK"}, id="jpeg-cmyk"),
        pytest.param("JPEG", {"progressive": True}, id="jpeg-progressive"),
        pytest.param("PNG", {}, id="png"),
        pytest.param("PNG", {"mode": "1"}, id="png-bilevel"),
        pytest.param("PNG", {"mode": "L"}, id="png-gray"),
        pytest.param("PNG", {"mode": "LA"}, id="png-gray-alpha"),
        pytest.param("PNG", {"mode": "P"}, id="png-palette"),
        pytest.param("PNG", {"mode": "RGBA"}, id="png-alpha"),
        pytest.param("PNG", {"mode": "I;16"}, id="png-16-bit"),
        pytest.param("WEBP", {}, id="webp"),
        pytest.param("WEBP", {"lossless": True}, id="webp-lossless"),
        pytest.param("WEBP", {"mode": "RGBA", "lossless": True, "exact": True}, id="webp-lossless-alpha"),
        pytest.param("BMP", {}, id="bmp"),
        pytest.param("BMP", {"mode": "1"}, id="bmp-bilevel"),
        pytest.param("BMP", {"mode": "L"}, id="bmp-gray"),
        pytest.param("BMP", {"mode": "P"}, id="bmp-palette"),
    ],
)
def test_header_says_what_pillow_says(format: str, options: dict[str, object]) -> None:
    data = encoded(PICTURE, format, **options)
    with Pillow.open(io.BytesIO(data)) as other:
        header = read_header(data)
        assert header.format.upper() == other.format
        assert (header.width, header.height) == other.size == (40, 32)
        assert header.mode == other.mode
        assert header.frames == 1


def test_translucent_webp_is_recognised_by_its_flag() -> None:
    pixels = Pillow.fromarray(PICTURE).convert("RGBA")
    pixels.putalpha(100)
    stream = io.BytesIO()
    pixels.save(stream, "WEBP")
    header = read_header(stream.getvalue())
    assert (header.mode, header.alpha, header.width, header.height) == ("RGBA", True, 40, 32)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_from_exif(format: str, orientation: int) -> None:
    header = read_header(encoded(PICTURE, format, orientation=orientation))
    assert header.orientation == orientation
    assert header.upright_size == ((32, 40) if orientation >= 5 else (40, 32))


@pytest.mark.parametrize(
    "exif",
    [
        pytest.param(b"Exif\0\0", id="empty"),
        pytest.param(b"Exif\0\0XX*\0\x08\0\0\0", id="no-byte-order"),
        pytest.param(b"Exif\0\0II*\0\xff\xff\xff\x7f", id="directory-beyond-the-end"),
        pytest.param(b"Exif\0\0II*\0\x08\0\0\0\x05\0", id="entries-missing"),
        pytest.param(b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0", id="value-99"),
    ],
)
def test_nonsense_in_exif_means_upright(exif: bytes) -> None:
    assert read_header(encoded(PICTURE, "JPEG", exif=exif)).orientation == 1


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_frames_of_an_animation_are_counted(format: str) -> None:
    assert read_header(animated(format)).frames == 2


def test_png_depth_and_transparent_gray_are_read() -> None:
    data = png(4, 1, depth=2, color=0, rows=[b"\x1b"], chunks=[(b"tRNS", b"\x00\x01")])
    header = read_header(data)
    assert (header.bit_depth, header.mode, header.alpha, header.transparent_gray) == (2, "L", True, 1)


def test_jpeg_thumbnail_does_not_hide_that_the_picture_is_cut() -> None:
    thumbnail = encoded(textured(1, width=16, height=16), "JPEG")
    whole = encoded(PICTURE, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0" + thumbnail)
    assert read_header(whole).width == 40
    with pytest.raises(ImageUndecodable, match="ends too early"):
        decode(whole[:-60], max_pixels=10_000)


def test_nothing_is_refused_as_empty() -> None:
    with pytest.raises(ImageEmpty, match="0 bytes"):
        read_header(b"")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GIF89a" + bytes(20), id="gif"),
        pytest.param(b"%PDF-1.7", id="pdf"),
        pytest.param(b"II*\0" + bytes(20), id="tiff"),
        pytest.param(b"RIFF\0\0\0\0WAVE", id="wav"),
        pytest.param(b"\x89PN", id="three-bytes"),
        pytest.param(b"BM", id="two-bytes"),
    ],
)
def test_other_formats_are_named_unknown(data: bytes) -> None:
    with pytest.raises(ImageFormatUnknown, match="send a JPEG, PNG, WebP or BMP file"):
        read_header(data)


@pytest.mark.parametrize("format", ["GIF", "TIFF", "AVIF"])
def test_a_known_format_that_is_not_read_is_named(format: str) -> None:
    with pytest.raises(ImageFormatUnknown) as caught:
        read_header(encoded(PICTURE, format))
    assert caught.value.recognised == format
    assert format in str(caught.value)


@pytest.mark.parametrize(
    ("brands", "name"),
    [
        pytest.param(b"heic\0\0\0\0mif1heic", "HEIC", id="iphone"),
        pytest.param(b"mif1\0\0\0\0mif1avif", "AVIF", id="avif-by-a-compatible-brand"),
        pytest.param(b"isom\0\0\0\0isommp41", None, id="video"),
    ],
)
def test_formats_of_the_iso_base_media_file_are_named_by_their_brands(
    brands: bytes, name: str | None
) -> None:
    with pytest.raises(ImageFormatUnknown) as caught:
        read_header(struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(40))
    assert caught.value.recognised == name


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP"])
def test_every_cut_is_noticed_from_the_structure_alone(format: str) -> None:
    data = encoded(PICTURE, format)
    shortest = {"JPEG": 3, "PNG": 8, "WEBP": 12, "BMP": 19}[format]
    # Behind the head of a JPEG's only scan nothing but its pixels says where it ends.
    longest = data.index(b"\xff\xda") + 2 if format == "JPEG" else len(data)
    for length in range(shortest, longest):
        with pytest.raises(ImageUndecodable):
            read_header(data[:length])


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0)])
def test_a_picture_without_pixels_is_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ImageUndecodable, match="size is"):
        read_header(png(*sizes, depth=8, color=0, rows=[]))


def test_jpeg_with_two_components_is_refused() -> None:
    data = bytearray(encoded(PICTURE, "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 9] = 2
    with pytest.raises(ImageUndecodable, match="2 colour components"):
        read_header(bytes(data))
