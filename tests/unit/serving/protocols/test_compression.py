"""Compressed bodies: what clients send, bombs, and what is damaged."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors.requests import BadRequest, EncodingUnsupported, PayloadTooLarge
from serving.http.request.compression import STEP_BYTES, Decompressor, is_compressed

COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


def unpacked(body: bytes, encoding: str, *, limit: int, piece: int = 1000) -> bytes:
    """The body as it was, read in pieces."""
    decompressor = Decompressor(encoding, limit=limit)
    made = b""
    for start in range(0, len(body), piece):
        decompressor.feed(body[start : start + piece])
        while decompressor.has_more:
            step = decompressor.step()
            assert len(step) <= STEP_BYTES
            made += step
    decompressor.finish()
    return made


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "GZIP", " deflate ", "x-gzip"])
@pytest.mark.parametrize("body", [b"", b"{}", bytes(range(256)) * 40], ids=["empty", "short", "long"])
def test_a_compressed_body_comes_out_as_it_was(encoding: str, body: bytes) -> None:
    packed = COMPRESS[encoding.strip().lower().removeprefix("x-")](body)
    for piece in (1, 7, 100_000):
        assert unpacked(packed, encoding, limit=len(body), piece=piece) == body


@pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
def test_without_an_encoding_nothing_happens(encoding: str) -> None:
    assert not is_compressed(encoding)


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_bomb_is_stopped_at_the_limit(encoding: str) -> None:
    bomb = COMPRESS[encoding](bytes(64 * 1024 * 1024))
    assert len(bomb) < 100_000
    tracemalloc.start()
    with pytest.raises(PayloadTooLarge, match="more than 1000 bytes"):
        unpacked(bomb, encoding, limit=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1024 * 1024


@pytest.mark.parametrize("encoding", COMPRESS)
def test_one_byte_more_than_the_limit_is_too_much(encoding: str) -> None:
    with pytest.raises(PayloadTooLarge):
        unpacked(COMPRESS[encoding](b"x" * 11), encoding, limit=10)


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_body_that_breaks_off_or_goes_on_is_refused(encoding: str) -> None:
    packed = COMPRESS[encoding](b"some body")
    for damaged in (packed[:-1], packed[:3], b"", packed + b"more", packed + packed):
        with pytest.raises(BadRequest):
            unpacked(damaged, encoding, limit=100)


@given(st.binary(max_size=100))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(BadRequest):
        unpacked(b"\x00" + noise, "gzip", limit=100)


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "chunked", "*"])
def test_other_encodings_are_refused(encoding: str) -> None:
    assert is_compressed(encoding)
    with pytest.raises(EncodingUnsupported):
        unpacked(b"", encoding, limit=100)
