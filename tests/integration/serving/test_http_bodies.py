"""Bodies as clients really send them: compressed, in base64, as text."""

from __future__ import annotations

import base64
import gzip
import json
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.onnx_models import CLASSES
from tests.support.serving_models import model_folder
from tests.support.streams import asked, kind, stream_of

MAX_BYTES, HELD_BYTES = 400_000, 1_000_000
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "x-gzip": gzip.compress,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bodies")
    model_folder(folder / "model")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    with serving(settings_in(folder, max_bytes=MAX_BYTES, max_held_bytes=HELD_BYTES)) as client:
        yield ready(client)


def form(**files: bytes) -> tuple[bytes, str]:
    request = httpx.Request(
        "POST", "http://x", files=[("file", (name, data)) for name, data in files.items()]
    )
    return request.read(), request.headers["content-type"]


@pytest.mark.parametrize("encoding", PACKED)
def test_every_endpoint_reads_compressed_bodies(client: httpx.Client, encoding: str) -> None:
    one, kind_of_form = form(a=picture_of(2))
    id = client.post("/detect", content=picture_of(5)).json()["id"]
    tensors = {"instances": [base64.b64encode(picture_of(4)).decode()]}
    cases: list[tuple[str, bytes, str, Callable[[Any], Any], Any]] = [
        ("/detect", picture_of(3), "image/png", lambda body: body["emotion"], CLASSES[3]),
        ("/detect", one, kind_of_form, lambda body: body["emotion"], CLASSES[2]),
        ("/detect/batch", one, kind_of_form,
         lambda body: body["results"][0]["result"]["emotion"], CLASSES[2]),
        ("/explain", picture_of(1), "", lambda body: body["emotion"], CLASSES[1]),
        ("/feedback", json.dumps({"id": id, "emotion": "sad"}).encode(), "application/json",
         lambda body: body["predicted"], CLASSES[5]),
        ("/invocations", json.dumps(tensors).encode(), "application/json",
         lambda body: len(body["predictions"]["probabilities"]), 1),
    ]  # fmt: skip
    for path, body, content_type, value, expected in cases:
        headers = {"content-encoding": encoding, "content-type": content_type}
        answer = client.post(path, content=PACKED[encoding](body), headers=headers)
        assert answer.status_code == 200, (path, answer.text)
        assert value(answer.json()) == expected


@pytest.mark.parametrize("path", ["/detect", "/detect/batch", "/explain", "/feedback", "/invocations"])
@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "aes128gcm"])
def test_other_encodings_are_refused_by_name(client: httpx.Client, path: str, encoding: str) -> None:
    answer = client.post(path, content=picture_of(0), headers={"content-encoding": encoding})
    assert (answer.status_code, kind(answer.json())) == (415, "content-unsupported")
    assert encoding in answer.json()["detail"]
    assert answer.headers["accept-encoding"] == "gzip, deflate"


def test_an_encoding_without_a_body_is_accepted(client: httpx.Client) -> None:
    assert client.get("/model", headers={"content-encoding": "br"}).status_code == 200
    headers = {"content-encoding": "identity"}
    assert client.post("/detect", content=picture_of(0), headers=headers).status_code == 200


def test_a_body_that_is_not_what_its_encoding_says(client: httpx.Client) -> None:
    packed = gzip.compress(picture_of(0))
    for body in (picture_of(0), packed[:-9], packed + b"more", packed + packed, b"\x1f"):
        answer = client.post("/detect", content=body, headers={"content-encoding": "gzip"})
        assert (answer.status_code, kind(answer.json())) == (400, "bad-request")


def test_a_bomb_is_stopped_at_the_limit_and_others_are_answered_meanwhile(client: httpx.Client) -> None:
    bomb = gzip.compress(bytes(300_000_000))
    headers = {"content-encoding": "gzip"}
    statuses = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(
                httpx.post(f"{client.base_url}/detect", content=bomb, headers=headers, timeout=60).status_code
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    assert client.post("/detect", content=picture_of(3)).status_code == 200
    for thread in threads:
        thread.join()
    assert set(statuses) <= {413, 503}


def test_what_bodies_became_counts_as_held(client: httpx.Client) -> None:
    packed = gzip.compress(bytes(MAX_BYTES - 1000))
    release = threading.Event()
    threads = [threading.Thread(target=held_open, args=(client, packed, release)) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    headers = {"content-type": "application/octet-stream"}
    answer = client.post("/detect", content=os.urandom(MAX_BYTES - 1000), headers=headers)
    release.set()
    for thread in threads:
        thread.join()
    assert (answer.status_code, kind(answer.json())) == (503, "bodies-full")
    assert client.post("/detect", content=picture_of(3)).status_code == 200


def held_open(client: httpx.Client, packed: bytes, release: threading.Event) -> None:
    """A compressed body whose last byte is kept back."""

    def pieces() -> Iterator[bytes]:
        yield packed[:-1]
        release.wait(10)
        yield packed[-1:]

    httpx.post(
        f"{client.base_url}/detect", content=pieces(), headers={"content-encoding": "gzip"}, timeout=30
    )


BASE64 = base64.b64encode(picture_of(0))
TEXTS = {
    "base64": (BASE64, "base64 text"),
    "base64 in lines": (base64.encodebytes(picture_of(0)), "base64 text"),
    "base64 for addresses": (base64.urlsafe_b64encode(os.urandom(3000)), "base64 text"),
    "data URI": (b"data:image/png;base64," + BASE64, "a data URI"),
    "JSON": (b'{"image": "' + BASE64 + b'"}', "JSON with base64 in it"),
    "JSON text": (b'"' + BASE64 + b'"', "JSON with base64 in it"),
    "JSON with an address": (b'{"url": "x"}', "JSON"),
    "address": (b"https://example.org/a.png", "an address"),
    "page": (b"<!DOCTYPE html><html>", "an HTML page"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_picture_as_text_is_named(client: httpx.Client, name: str) -> None:
    body, recognised = TEXTS[name]
    for path in ("/detect", "/explain"):
        answer = client.post(path, content=body)
        assert (answer.status_code, kind(answer.json())) == (415, "picture-as-text")
        assert f"this is {recognised}" in answer.json()["detail"]
    batch = client.post("/detect/batch", files=[("file", ("a", body)), ("file", ("b", picture_of(1)))]).json()
    assert kind(batch["results"][0]["problem"]) == "picture-as-text"
    assert batch["results"][1]["result"]["emotion"] == CLASSES[1]
    with stream_of(client) as stream:
        assert kind(asked(stream, body)) == "picture-as-text"


@pytest.mark.parametrize("body", [b"no picture at all", b"hello", os.urandom(500), b"GIF89a" + bytes(50)])
def test_other_bytes_are_not_taken_for_text(client: httpx.Client, body: bytes) -> None:
    assert kind(client.post("/detect", content=b"\x00" + body).json()) == "image-format-unknown"


def test_a_part_in_base64_is_named(client: httpx.Client) -> None:
    begin = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
    for coding, status in (("base64", 415), ("Quoted-Printable", 415), ("binary", 200), ("8BIT", 200)):
        head = f"{begin}Content-Transfer-Encoding: {coding}\r\n\r\n".encode()
        data = BASE64 if coding == "base64" else picture_of(6)
        headers = {"content-type": "multipart/form-data; boundary=b"}
        answer = client.post("/detect", content=head + data + b"\r\n--b--\r\n", headers=headers)
        assert answer.status_code == status
        if status == 415:
            assert kind(answer.json()) == "picture-as-text"
            assert f"Content-Transfer-Encoding: {coding.lower()}" in answer.json()["detail"]
