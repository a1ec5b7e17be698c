"""The `image` tensor from bytes and JSON: values kept, shapes held, nothing cast."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.contract import InputSpec
from serving.errors.requests import BadRequest, TooManyPictures
from serving.protocols import tensors

SPEC = InputSpec(height=8, width=10)
SIZE = 8 * 10 * 3
NOISE = np.random.default_rng(3).integers(0, 256, (2, 8, 10, 3), dtype=np.uint8)


def test_bytes_become_pictures_without_a_copy() -> None:
    body = bytearray(NOISE.tobytes())
    images = tensors.from_bytes(memoryview(body), SPEC, 2)
    np.testing.assert_array_equal(images, NOISE)
    body[0] ^= 255
    assert images[0, 0, 0, 0] == body[0]


@pytest.mark.parametrize("size", [0, 1, 2 * SIZE - 1, 2 * SIZE + 1, SIZE])
def test_another_number_of_bytes_is_refused(size: int) -> None:
    with pytest.raises(BadRequest, match=rf"{size} bytes, expected 480 of uint8 \[2, 8, 10, 3\]"):
        tensors.from_bytes(memoryview(bytes(size)), SPEC, 2)


@pytest.mark.parametrize(
    "values",
    [NOISE.tolist(), NOISE.ravel().tolist(), NOISE.reshape(2, -1).tolist()],
    ids=["nested", "flat", "rows"],
)
def test_nested_and_flat_lists_are_the_same_pictures(values: list[Any]) -> None:
    images = tensors.from_values(values, SPEC, 2)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, NOISE)


def changed(at: tuple[int, ...], value: object) -> list[Any]:
    lists: Any = NOISE.tolist()
    holder = lists
    for index in at[:-1]:
        holder = holder[index]
    holder[at[-1]] = value
    return list(lists)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (256, "256"),
        (-1, "-1"),
        (0.5, "0.5"),
        (1.0, "1.0"),
        (True, "true"),
        (None, "null"),
        ("1", '"1"'),
        ({}, "{}"),
        (2**63, "9223372036854775808"),
        ("x" * 1000, '"xxx'),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.parametrize("flat", [False, True], ids=["nested", "flat"])
def test_a_value_that_is_not_a_uint8_is_refused_and_shown(value: object, shown: str, flat: bool) -> None:
    values = changed((1, 4, 5, 2), value)
    if flat:
        values = [one for picture in values for row in picture for pixel in row for one in pixel]
    with pytest.raises(BadRequest, match="expected whole numbers from 0 to 255") as raised:
        tensors.from_values(values, SPEC, 2)
    assert shown in str(raised.value)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    "values",
    [
        changed((1, 4, 5), [1, 2]),
        changed((1, 4, 5), [1, 2, 3, 4]),
        changed((1, 4, 5), 1),
        changed((1, 4, 5), "123"),
        changed((1, 4, 5), {"a": 1, "b": 2, "c": 3}),
        changed((1, 4), []),
        changed((1,), []),
        changed((1,), None),
        NOISE[:1].tolist(),
        [*NOISE.tolist(), NOISE[0].tolist()],
        NOISE.transpose(0, 2, 1, 3).tolist(),
        NOISE.ravel().tolist()[:-1],
        [NOISE.tolist()],
        [],
        {},
        "image",
        None,
        7,
    ],
)
def test_another_shape_is_refused(values: object) -> None:
    with pytest.raises(BadRequest):
        tensors.from_values(values, SPEC, 2)


@pytest.mark.parametrize(("count", "error"), [(0, BadRequest), (5, TooManyPictures)])
def test_none_and_too_many_pictures_are_refused(count: int, error: type[Exception]) -> None:
    tensors.check_count(4, most=4)
    with pytest.raises(error):
        tensors.check_count(count, most=4)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
def test_as_many_pictures_as_allowed_fit_as_json(separators: tuple[str, str]) -> None:
    white = np.full((4, 8, 10, 3), 255)
    text = json.dumps({"inputs": white.tolist()}, separators=separators).encode()
    assert len(text) <= tensors.body_bytes(SPEC, most=4)
    assert tensors.load(text, SPEC, most=4)["inputs"] == white.tolist()


@pytest.mark.parametrize("item", ["[],", "{},", "0,"], ids=["lists", "objects", "values"])
def test_more_than_the_pictures_have_is_refused_before_it_is_parsed(item: str) -> None:
    text = ('{"inputs":[' + item * 20_000 + "0]}").encode()
    with pytest.raises(TooManyPictures):
        tensors.load(text, SPEC, most=4)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"1", b"null", b'"{}"', b"\xff", b"{}{}", b"NaN", b"{'a': 1}", b"[" * 5000]
)
def test_what_is_not_a_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest):
        tensors.load(text, SPEC, most=4)


@given(size=st.integers(0, 10**9), is_binary=st.booleans())
def test_the_likely_count_is_within_its_bounds(size: int, is_binary: bool) -> None:
    assert 1 <= tensors.likely_count(size, SPEC, most=64, is_binary=is_binary) <= 64


def test_the_likely_count_is_near_for_honest_bodies() -> None:
    noise = np.random.default_rng(4).integers(0, 256, (20, 8, 10, 3))
    text = json.dumps(noise.tolist(), separators=(",", ":"))
    assert 16 <= tensors.likely_count(len(text), SPEC, most=64) <= 24
    assert tensors.likely_count(20 * SIZE + 200, SPEC, most=64, is_binary=True) == 20
