"""The binary tensor extension's framing: lengths that are true, that lie, and that are no lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors.requests import BadRequest
from serving.protocols import tensors


@given(json=st.binary(max_size=200), tensor=st.binary(max_size=200))
def test_what_is_joined_is_parted_again_without_a_copy(json: bytes, tensor: bytes) -> None:
    body = tensors.join(json, [tensor])
    header, data = tensors.split(body, str(len(json)))
    assert (bytes(header), bytes(data)) == (json, tensor)
    assert header.obj is body
    assert data.obj is body


def test_without_the_header_all_of_it_is_json() -> None:
    header, data = tensors.split(b"{}", None)
    assert bytes(header) == b"{}"
    assert len(data) == 0


@given(body=st.binary(max_size=50), beyond=st.integers(1, 10**11))
def test_a_length_beyond_the_body_is_refused(body: bytes, beyond: int) -> None:
    with pytest.raises(BadRequest, match=f"but the body has {len(body)} bytes"):
        tensors.split(body, str(len(body) + beyond))


@pytest.mark.parametrize(
    "length",
    [
        "",
        " ",
        "-1",
        "+1",
        "1.0",
        "1e1",
        "0x1",
        "1_0",
        " 1",
        "1,1",
        "٣",
        "²",
        "9" * 13,
        "9" * 5000,
        "\x00",
        "one",
    ],
)
def test_what_is_not_a_length_is_refused(length: str) -> None:
    with pytest.raises(BadRequest, match="expected the length of the JSON"):
        tensors.split(b"{}" * 10, length)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=20))
def test_texts_are_read_by_tritonclient(elements: list[str]) -> None:
    from tritonclient.utils import deserialize_bytes_tensor

    read = deserialize_bytes_tensor(tensors.texts(elements))
    assert isinstance(read, np.ndarray)
    assert [element.decode() for element in read.tolist()] == elements
