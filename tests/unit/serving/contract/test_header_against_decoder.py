"""The header's reader and OpenCV's decoders read the same size of mutated files."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.libraries import PIXEL_LIMIT_VARIABLE
from tests.support.picture_mutations import mutated, originals

FILES = originals()
MAX_PIXELS = 500_000
# Of OpenCV itself, above the other: what comes between has passed a header that said less.
DECODER_PIXELS = 1_000_000
LONGEST_S = 2.0

Opinion = tuple[str, tuple[int, int] | None, tuple[int, int] | None, float]


@pytest.fixture(scope="module")
def decoder() -> Iterator[ProcessPoolExecutor]:
    """A process whose OpenCV has a limit of its own, as the service's has."""
    with (
        pytest.MonkeyPatch.context() as patch,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
    ):
        patch.setenv(PIXEL_LIMIT_VARIABLE, str(DECODER_PIXELS))
        pool.submit(_opinion, FILES["png"]).result()
        yield pool


def _opinion(data: bytes) -> Opinion:
    """What became of a file, the size by its header, the size of OpenCV's pixels, and how long both took."""
    import cv2
    import numpy as np

    from serving.contract import decode, read_header
    from serving.errors import ImageError, ImageTooLarge

    begun = time.process_time()
    try:
        decode(data, max_pixels=MAX_PIXELS)
        outcome = "decoded"
    except ImageTooLarge as error:
        outcome = "too large by its header" if error.width else "too large by the decoder"
    except ImageError as error:
        outcome = type(error).__name__
    spent_s = time.process_time() - begun
    if outcome.startswith("too large"):
        return outcome, None, None, spent_s
    try:
        header = read_header(data)
    except ImageError:
        return outcome, None, None, spent_s
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    shape = None if pixels is None else (pixels.shape[1], pixels.shape[0])
    return outcome, (header.width, header.height), shape, spent_s


@settings(max_examples=400)
@given(name=st.sampled_from(sorted(FILES)), seed=st.integers(0, 1 << 32))
def test_a_mutated_file_has_the_size_that_its_header_says(
    decoder: ProcessPoolExecutor, name: str, seed: int
) -> None:
    data = mutated(name, FILES, random.Random(seed))
    outcome, stated, decoded, spent_s = decoder.submit(_opinion, data).result()
    assert outcome != "too large by the decoder"
    assert decoded in (None, stated)
    assert spent_s < LONGEST_S


def test_every_dialect_is_read_before_it_is_mutated(decoder: ProcessPoolExecutor) -> None:
    outcomes = {name: decoder.submit(_opinion, data).result()[0] for name, data in FILES.items()}
    animations = {"png-animated": "ImageAnimated", "webp-animated": "ImageAnimated"}
    assert outcomes == dict.fromkeys(FILES, "decoded") | animations


def test_opencv_refuses_what_the_header_reader_would_let_pass(decoder: ProcessPoolExecutor) -> None:
    from tests.support.pictures import png

    row = bytes(2_000)
    large = png(2_000, 1_000, depth=8, color=0, rows=[row] * 1_000)
    assert decoder.submit(_unlimited, large).result() == (None, DECODER_PIXELS)


def _unlimited(data: bytes) -> tuple[int | None, int] | None:
    from serving.contract import decode
    from serving.errors import ImageTooLarge

    try:
        decode(data, max_pixels=1 << 60)
    except ImageTooLarge as error:
        return error.width, error.max_pixels
    return None
