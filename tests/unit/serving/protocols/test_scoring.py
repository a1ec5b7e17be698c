"""Bodies of MLflow's scoring protocol: every form of the same pictures, and what is refused."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.contract import InputSpec
from serving.errors.requests import BadRequest, PayloadTooLarge, TooManyPictures
from serving.inference.onnx_classifier import Prediction
from serving.protocols.mlflow_scoring import ScoringRequest, read_request, write_answer

SPEC = InputSpec(height=8, width=8)
NOISE = np.random.default_rng(6).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
NESTED = NOISE.tolist()
FLAT = NOISE.reshape(2, -1).tolist()
FILE = b"\x89PNG, or so"
BASE64 = base64.b64encode(FILE).decode()


def read(body: object, *, most: int = 8, max_file_bytes: int = 100) -> ScoringRequest:
    return read_request(json.dumps(body).encode(), SPEC, most=most, max_file_bytes=max_file_bytes)


@pytest.mark.parametrize("pictures", [NESTED, FLAT], ids=["nested", "flat"])
@pytest.mark.parametrize(
    "form",
    [
        lambda p: {"inputs": p},
        lambda p: {"inputs": {"image": p}},
        lambda p: {"instances": p},
        lambda p: {"instances": [{"image": one} for one in p]},
        lambda p: {"dataframe_records": [{"image": one, "name": "a"} for one in p]},
        lambda p: {"dataframe_split": {"columns": ["image"], "data": [[one] for one in p]}},
        lambda p: {
            "dataframe_split": {"index": [4, 2], "columns": ["n", "image"], "data": [[1, one] for one in p]}
        },
        lambda p: {"inputs": p, "params": None, "unknown": 1},
    ],
)
def test_every_form_gives_the_same_pictures(form: Any, pictures: list[Any]) -> None:
    request = read(form(pictures))
    np.testing.assert_array_equal(np.stack(request.pictures), NOISE)
    assert (request.faces, request.record) == ("auto", True)


def test_files_may_stand_beside_tensors() -> None:
    request = read({"instances": [BASE64, NESTED[0]], "params": {"faces": "none", "record": False}})
    assert request.pictures[0] == FILE
    np.testing.assert_array_equal(request.pictures[1], NOISE[0])
    assert (request.faces, request.record) == ("none", False)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "the body has none of inputs, instances, dataframe_split, dataframe_records, expected one"),
        ({"inputs": NESTED, "instances": NESTED}, "the body has inputs, instances of"),
        (NESTED, "the body is a JSON list"),
        ({"inputs": []}, "0 pictures"),
        ({"inputs": NESTED[0]}, "picture 0 is not [8, 8, 3]"),
        ({"inputs": {"picture": NESTED}}, "inputs has no 'image'"),
        ({"inputs": "x"}, "inputs is a text, expected a list"),
        ({"inputs": (NOISE / 255).tolist()}, "expected whole numbers from 0 to 255 (uint8, not scaled)"),
        ({"inputs": [None]}, "picture 0"),
        ({"instances": {"image": NESTED}}, "instances is an object"),
        ({"instances": [{"image": NESTED[0]}, NESTED[1]]}, "a row of instances has no 'image'"),
        ({"instances": [NESTED[0], {"image": NESTED[1]}]}, "picture 1"),
        ({"dataframe_records": {"image": NESTED}}, "dataframe_records is an object"),
        ({"dataframe_records": [{"picture": NESTED[0]}]}, "a row of dataframe_records has no 'image'"),
        ({"dataframe_split": NESTED}, "dataframe_split is not an object"),
        ({"dataframe_split": {"data": [[NESTED[0]]]}}, "dataframe_split is not an object with columns, data"),
        (
            {"dataframe_split": {"columns": ["image"], "data": [], "x": 1}},
            "dataframe_split is not an object with",
        ),
        ({"dataframe_split": {"columns": ["image"], "data": []}}, "0 pictures"),
        ({"dataframe_split": {"columns": [0], "data": [[NESTED[0]]]}}, "not exactly one 'image'"),
        ({"dataframe_split": {"columns": ["image", "image"], "data": []}}, "not exactly one 'image'"),
        ({"dataframe_split": {"columns": ["image"], "data": NESTED}}, "another length than columns"),
        ({"dataframe_split": {"columns": ["image"], "data": [1]}}, "another length than columns"),
        ({"inputs": ["no base64!"]}, "picture 0 is a text but no base64"),
        ({"inputs": ["é"]}, "picture 0 is a text but no base64"),
        ({"inputs": [BASE64 + "="]}, "picture 0 is a text but no base64"),
        ({"inputs": NESTED, "params": []}, "params is a list"),
        ({"inputs": NESTED, "params": {"faces": "all"}}, "params.faces is neither"),
        ({"inputs": NESTED, "params": {"faces": ["auto"]}}, "params.faces is neither"),
        ({"inputs": NESTED, "params": {"record": 0}}, "params.record is neither"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_anything_else_is_refused_with_the_reason(body: object, expected: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(expected)):
        read(body)


def test_too_many_pictures_are_refused() -> None:
    for picture in (NESTED[0], BASE64):
        with pytest.raises(TooManyPictures, match="5 pictures were sent, at most 4"):
            read({"inputs": [picture] * 5}, most=4)


@pytest.mark.parametrize("size", [101, 102, 103, 10_000])
def test_a_file_that_is_too_large_is_refused(size: int) -> None:
    read({"inputs": [base64.b64encode(bytes(100)).decode()]})
    with pytest.raises(PayloadTooLarge, match="more than 100 bytes"):
        read({"inputs": [base64.b64encode(bytes(size)).decode()]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
FORMATS = ["inputs", "instances", "dataframe_split", "dataframe_records", "params"]


@given(st.dictionaries(st.sampled_from(FORMATS), JSON))
def test_any_json_is_refused(body: dict[str, Any]) -> None:
    # Hypothesis makes no picture of 192 values by chance, but an empty text is base64 of nothing.
    try:
        request = read(body)
    except (BadRequest, TooManyPictures):
        return
    assert all(isinstance(picture, bytes) for picture in request.pictures)


def test_the_answer_has_the_graphs_outputs() -> None:
    prediction = Prediction(
        probabilities=np.array([[0.25, 0.75]], np.float32),
        heatmap=np.array([[[0, 0.5], [1, 0.1]]], np.float32),
        embedding=np.array([[-1.5]], np.float32),
    )
    body = json.loads(write_answer(prediction))
    assert list(body) == ["predictions"]
    assert body["predictions"] == {
        "probabilities": [[0.25, 0.75]],
        "heatmap": [[[0, 0.5], [1, 0.1]]],
        "embedding": [[-1.5]],
    }
