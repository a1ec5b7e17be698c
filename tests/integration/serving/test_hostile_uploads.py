"""Uploads that attack the decoders, or that only look as if they did, sent to the real service."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.load.uploads import LONGEST_S as LONGEST_DECODE_S
from tests.load.uploads import run
from tests.support.hostile_pictures import (
    PICTURE,
    between_segments,
    bmp_of_257_grays,
    jpeg_of_two_sizes,
    progressive,
    webp_with_a_later_canvas,
    with_trailer,
)
from tests.support.http_service import ready, serving, settings_in
from tests.support.pictures import encoded, png, png_chunk
from tests.support.serving_models import model_folder

JPEG = encoded(PICTURE, "JPEG", quality=92)
LONGEST_S = 1.0


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("service")
    model_folder(folder / "model")
    with serving(settings_in(folder)) as client:
        yield ready(client)


def posted(client: httpx.Client, path: str, data: bytes) -> tuple[httpx.Response, float]:
    """The answer, and the processor seconds of client and service, which are one process here."""
    begun = time.process_time()
    answer = client.post(path, content=data, headers={"content-type": "image/jpeg"})
    return answer, time.process_time() - begun


REFUSED = [
    pytest.param(jpeg_of_two_sizes(), 413, "image-too-large", id="jpeg-bomb"),
    pytest.param(webp_with_a_later_canvas(16_000, 16_000), 413, "image-too-large", id="webp-bomb"),
    pytest.param(progressive(3_000), 422, "image-unusable", id="scan-bomb"),
    pytest.param(
        png(4, 4, depth=8, color=0, rows=[bytes(4)] * 4, chunks=[(b"tEXt", b"a\0")] * 10_000),
        *(422, "image-unusable"),
        id="chunk-bomb",
    ),
    pytest.param(
        png(4, 4, depth=8, color=0, rows=[bytes(1 << 20)] * 600), 422, "image-unusable", id="row-bomb"
    ),
    pytest.param(
        encoded(PICTURE)[:33] + png_chunk(b"IEND", b"") + b"\x7f\xff\xff\xf0IDAT",
        *(422, "image-unusable"),
        id="png-without-pixels",
    ),
    pytest.param(bmp_of_257_grays(), 422, "image-unusable", id="bmp-of-257-grays"),
    pytest.param(JPEG[: len(JPEG) // 2], 422, "image-unusable", id="half-a-jpeg"),
    pytest.param(JPEG[: len(JPEG) // 2] + b"\xff\xd9", 422, "image-unusable", id="half-a-jpeg-with-an-end"),
    pytest.param(encoded(PICTURE)[:-400], 422, "image-unusable", id="part-of-a-png"),
]


@pytest.mark.parametrize("path", ["/detect", "/explain"])
@pytest.mark.parametrize(("data", "status", "kind"), REFUSED)
def test_a_picture_that_cannot_be_decoded_at_a_fair_cost_is_refused_at_once(
    client: httpx.Client, path: str, data: bytes, status: int, kind: str
) -> None:
    answer, spent_s = posted(client, path, data)
    assert answer.status_code == status, answer.text
    assert answer.json()["type"] == f"urn:mien:problem:{kind}"
    assert spent_s < LONGEST_S


def test_a_batch_of_bombs_is_refused_at_once_and_its_good_picture_answered(client: httpx.Client) -> None:
    bomb = webp_with_a_later_canvas(16_000, 16_000)
    files = [("file", (f"{number}.webp", bomb)) for number in range(15)] + [("file", ("good.jpg", JPEG))]
    begun = time.process_time()
    answer = client.post("/detect/batch", files=files)
    assert time.process_time() - begun < LONGEST_S
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [item["problem"]["status"] for item in results[:-1]] == [413] * 15
    assert results[-1]["result"]["emotion"]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(JPEG[:-2], id="without-end"),
        pytest.param(JPEG[:-1], id="half-an-end"),
        pytest.param(with_trailer(JPEG), id="trailer"),
        pytest.param(between_segments(JPEG, b"\0"), id="stray-byte"),
        pytest.param(between_segments(JPEG, b"\xff" * 1_000_000), id="fill-bytes"),
    ],
)
def test_a_complete_jpeg_with_a_flaw_gets_the_answer_of_the_intact_one(
    client: httpx.Client, data: bytes
) -> None:
    intact, _ = posted(client, "/detect", JPEG)
    answer, _ = posted(client, "/detect", data)
    assert answer.status_code == 200, answer.text
    assert answer.json()["probabilities"] == intact.json()["probabilities"]


def iso_media(brand: bytes, *compatible: bytes) -> bytes:
    """The first box of an ISO base media file (ISO/IEC 14496-12, 4.3)."""
    brands = brand + bytes(4) + b"".join(compatible)
    return struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(64)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        pytest.param(encoded(PICTURE, "AVIF"), "AVIF", id="avif"),
        pytest.param(iso_media(b"heic", b"mif1", b"heic"), "HEIC", id="heic"),
        pytest.param(iso_media(b"mif1", b"mif1", b"avif"), "AVIF", id="avif-by-compatible-brand"),
        pytest.param(encoded(PICTURE, "TIFF"), "TIFF", id="tiff"),
        pytest.param(encoded(PICTURE, "GIF"), "GIF", id="gif"),
    ],
)
def test_another_format_is_named(client: httpx.Client, data: bytes, name: str) -> None:
    answer, _ = posted(client, "/detect", data)
    assert answer.status_code == 415, answer.text
    assert name in answer.json()["detail"]


def test_two_hundred_damaged_pictures_of_every_dialect_are_answered_or_refused(tmp_path: Path) -> None:
    # `python -m tests.load.uploads --count 20000` is the same, longer.
    report = run(tmp_path, count=204)
    assert report.failed == []
    assert sum(report.statuses.values()) == report.count
    assert {200, 413, 422} <= set(report.statuses)
    assert report.decode_s < LONGEST_DECODE_S
