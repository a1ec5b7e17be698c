"""Two thousand bodies that no honest client sends: no 5xx, no crash, no growth."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.pictures import animated, encoded, textured
from tests.support.serving_models import model_folder

COUNT, WARM_UP = 2000, 400
FORMATS = ("JPEG", "PNG", "WebP", "BMP")
BOUNDARY = "frontier"
FORM_HEAD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'.encode()
FORM_TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    model_folder(tmp_path / "model")
    with serving(settings_in(tmp_path, max_bytes=200_000, max_pixels=250_000)) as client:
        yield ready(client)


def originals() -> list[bytes]:
    files = [encoded(textured(seed, width=60, height=50), name) for seed, name in enumerate(FORMATS)]
    return [*files, encoded(textured(9), "JPEG", orientation=6), animated("WebP"), animated("PNG")]


def mutated(rng: random.Random, data: bytes) -> bytes:
    """The file with some of its bytes changed, cut out, repeated or cut off."""
    body = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(body) + 1)
        match rng.randrange(5):
            case 0 if at < len(body):
                body[at] = rng.randrange(256)
            case 1:
                # The header is where sizes, counts and depths are.
                body[at % 64 : at % 64 + 4] = rng.randbytes(4)
            case 2:
                del body[at : at + rng.randint(1, 50)]
            case 3:
                body[at:at] = body[at : at + rng.randint(1, 200)]
            case _:
                del body[max(at, 1) :]
    return bytes(body)


def generated(rng: random.Random) -> bytes:
    """A signature with noise behind it, or noise alone."""
    signatures = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBPVP8X", b"BM", b"GIF89a", b"")
    return rng.choice(signatures) + rng.randbytes(rng.randint(0, 500))


def bodies(rng: random.Random) -> Iterator[tuple[bytes, str]]:
    """Bodies and their content types, without end."""
    files = originals()
    while True:
        data = mutated(rng, rng.choice(files)) if rng.random() < 0.8 else generated(rng)
        form = FORM_HEAD + data + FORM_TAIL
        yield data, "image/jpeg"
        yield form, f"multipart/form-data; boundary={BOUNDARY}"
        yield mutated(rng, form), f"multipart/form-data; boundary={BOUNDARY}"


def test_malformed_uploads_are_refused_or_answered_and_nothing_else(client: httpx.Client) -> None:
    rng = random.Random(20261123)
    process = psutil.Process()
    statuses: Counter[int] = Counter()
    before = 0
    for number, (body, kind) in zip(range(COUNT), bodies(rng), strict=False):
        path = rng.choice(("/detect", "/detect", "/explain", "/detect/batch"))
        answer = client.post(path, content=body, headers={"content-type": kind})
        statuses[answer.status_code] += 1
        assert answer.status_code < 500, (path, kind, body)
        if answer.status_code != 200:
            assert answer.headers["content-type"] == "application/problem+json"
        if number == WARM_UP:
            before = process.memory_info().rss
    assert {200, 400, 413, 415, 422} <= set(statuses)
    assert process.memory_info().rss < before * 1.1
    assert client.post("/detect", content=picture_of(3)).status_code == 200
