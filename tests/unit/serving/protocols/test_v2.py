"""Requests and answers of the Open Inference Protocol, byte by byte."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.contract import InputSpec
from serving.errors.requests import BadRequest, TooManyPictures
from serving.inference.onnx_classifier import Prediction
from serving.protocols import v2
from serving.protocols.v2 import ModelInfo, write_answer

SPEC = InputSpec(height=8, width=8)
NOISE = np.random.default_rng(5).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
MODEL = ModelInfo(name="emotion", version="3", sha256="5e" * 32, classes=("angry", "happy", "sad"))
PREDICTION = Prediction(
    probabilities=np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]], np.float32),
    heatmap=np.arange(8, dtype=np.float32).reshape(2, 2, 2) / np.float32(8),
    embedding=np.array([[1.5, -2, 3, 0], [0, 1e-7, 1e7, -0.0]], np.float32),
)


def image(**changes: Any) -> dict[str, Any]:
    """The input tensor; a change to None takes the key away."""
    whole = {"name": "image", "datatype": "UINT8", "shape": [2, 8, 8, 3], "data": NOISE.tolist()} | changes
    return {name: value for name, value in whole.items() if value is not None}


def request(*, tensor: dict[str, Any] | None = None, **more: Any) -> bytes:
    return json.dumps({"inputs": [tensor or image()], **more}).encode()


def binary_request(*, tail: bytes | None = None, **more: Any) -> tuple[bytes, str]:
    """Body and header of a request with the tensor's bytes behind the JSON."""
    size = {"parameters": {"binary_data_size": NOISE.nbytes}}
    header = request(tensor=image(data=None, **size), **more)
    return header + (NOISE.tobytes() if tail is None else tail), str(len(header))


def read(body: bytes, length: str | None = None, *, most: int = 4) -> v2.InferRequest:
    return v2.read_request(body, length, SPEC, most=most)


def test_json_bytes_and_raw_bytes_are_the_same_pictures() -> None:
    for body, length in ((request(), None), binary_request(), (NOISE.tobytes(), "0")):
        asked = read(body, length)
        np.testing.assert_array_equal(asked.images, NOISE)
        assert [output.name for output in asked.outputs] == [
            "probabilities",
            "heatmap",
            "embedding",
            "novelty",
        ]
        assert not any(output.asked for output in asked.outputs)
        assert asked.record


def test_bytes_behind_the_json_are_not_copied() -> None:
    body, length = binary_request()
    at = np.frombuffer(body, np.uint8).__array_interface__["data"][0] + int(length)
    assert read(body, length).images.__array_interface__["data"][0] == at


def test_what_is_optional_may_be_null_as_some_clients_write_it() -> None:
    asked = read(request(id=None, parameters=None, outputs=None))
    assert (asked.id, len(asked.outputs)) == (None, 4)


def test_outputs_and_their_form_are_what_was_asked_for() -> None:
    outputs = [
        {"name": "embedding", "parameters": {"binary_data": False}},
        {"name": "probabilities", "parameters": {"classification": 2, "unknown": 1}},
    ]
    asked = read(request(id="a", outputs=outputs, parameters={"binary_data_output": True, "record": False}))
    assert asked.outputs == (
        v2.Output(name="embedding", binary=False),
        v2.Output(name="probabilities", binary=True, classification=2),
    )
    assert (asked.id, asked.record) == ("a", False)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "picture"}, "the input's name is 'picture', expected 'image'"),
        ({"name": None}, "the input's name is null"),
        ({"datatype": "FP32"}, "datatype of 'image' is 'FP32', expected 'UINT8'"),
        ({"datatype": "INT8"}, "datatype"),
        ({"shape": [2, 3, 8, 8]}, "shape of 'image' is [2, 3, 8, 8], expected [n, 8, 8, 3]"),
        ({"shape": [8, 8, 3]}, "shape"),
        ({"shape": [-1, 8, 8, 3]}, "shape"),
        ({"shape": [2.0, 8, 8, 3]}, "shape"),
        ({"shape": [True, 8, 8, 3]}, "shape"),
        ({"shape": list(range(1000))}, "…]"),
        ({"shape": "2,8,8,3"}, "shape"),
        ({"shape": None}, "shape of 'image' is null"),
        ({"shape": [0, 8, 8, 3], "data": []}, "0 pictures"),
        ({"shape": [1, 8, 8, 3]}, "2 pictures, expected uint8 [1, 8, 8, 3]"),
        ({"data": None}, "data is null"),
        ({"data": "AAAA"}, "data is a text"),
        ({"parameters": {"binary_data_size": 384}}, "binary_data_size is 384, but 0 bytes follow the JSON"),
        ({"parameters": {"binary_data_size": -1}}, "binary_data_size is -1"),
        ({"parameters": {"binary_data_size": 0}}, "both data and binary_data_size"),
        ({"parameters": {"binary_data_size": "0"}}, "binary_data_size is '0'"),
        ({"parameters": {"binary_data_size": False}}, "binary_data_size is true or false"),
        ({"parameters": {"shared_memory_region": "a"}}, "shared memory is not supported"),
        ({"parameters": []}, "expected an object"),
    ],
    ids=str,
)
def test_a_tensor_that_is_not_the_models_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(expected)):
        read(request(tensor=image(**changes)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"inputs": []}, "0 inputs"),
        ({"inputs": [image(), image()]}, "2 inputs"),
        ({"inputs": None}, "inputs: null"),
        ({"inputs": [7]}, "expected one: 'image'"),
        ({"id": 42}, "id is a number"),
        ({"parameters": "x"}, "parameters of the request are a text"),
        ({"parameters": {"binary_data_output": 1}}, "binary_data_output is 1, expected true or false"),
        ({"parameters": {"record": "no"}}, "record is 'no'"),
        ({"outputs": {}}, "outputs is an object"),
        ({"outputs": ["heatmap"]}, "output 'heatmap' is asked for"),
        ({"outputs": [{}]}, "output null is asked for"),
        ({"outputs": [{"name": "logits"}]}, "expected some of probabilities, heatmap, embedding"),
        ({"outputs": [{"name": []}]}, "output [] is asked for"),
        ({"outputs": [{"name": "heatmap"}] * 10_000}, "asked for twice"),
        (
            {"outputs": [{"name": "heatmap", "parameters": {"classification": 1}}]},
            "of 'heatmap', expected of",
        ),
        (
            {"outputs": [{"name": "probabilities", "parameters": {"classification": -1}}]},
            "classification is -1",
        ),
        ({"outputs": [{"name": "probabilities", "parameters": {"binary_data": "1"}}]}, "binary_data is '1'"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_request_that_is_not_the_protocols_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(expected)):
        read(request(**changes))


def test_too_many_pictures_are_refused() -> None:
    for body, length in ((request(), None), binary_request(), (NOISE.tobytes(), "0")):
        with pytest.raises(TooManyPictures, match="2 pictures were sent, at most 1"):
            read(body, length, most=1)


@pytest.mark.parametrize("tail", [b"", b"x", NOISE.tobytes()[:-1], NOISE.tobytes() + b"x"], ids=len)
def test_bytes_that_are_fewer_or_more_than_announced_are_refused(tail: bytes) -> None:
    body, length = binary_request(tail=tail)
    with pytest.raises(BadRequest, match="binary_data_size is 384"):
        read(body, length)


def test_unannounced_bytes_are_refused() -> None:
    header = request()
    with pytest.raises(BadRequest, match="3 bytes follow the JSON, but no input has binary_data_size"):
        read(header + b"abc", str(len(header)))


@pytest.mark.parametrize("size", [0, 1, 191, 193])
def test_raw_bytes_that_are_no_whole_pictures_are_refused(size: int) -> None:
    with pytest.raises(BadRequest):
        read(bytes(size), "0")


@given(data=st.data())
def test_a_damaged_request_is_refused_or_read_and_nothing_else(data: st.DataObject) -> None:
    body, length = binary_request(id="7", outputs=[{"name": "probabilities"}])
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(damaged)))
        match data.draw(st.sampled_from(["set", "insert", "cut", "truncate"])):
            case "set" if at < len(damaged):
                damaged[at] = data.draw(st.integers(0, 255))
            case "insert":
                damaged[at:at] = data.draw(st.binary(max_size=20))
            case "cut":
                del damaged[at : at + data.draw(st.integers(1, 30))]
            case _:
                del damaged[max(at, 1) :]
    given_length = data.draw(st.sampled_from([length, None, "0", "1", str(len(damaged)), str(len(body) * 2)]))
    try:
        asked = read(bytes(damaged), given_length)
    except (BadRequest, TooManyPictures):
        return
    assert asked.images.shape[1:] == (8, 8, 3)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(key=st.sampled_from(["id", "inputs", "outputs", "parameters"]), value=JSON)
def test_any_json_in_the_requests_fields_is_refused_or_read(key: str, value: object) -> None:
    try:
        read(json.dumps({"inputs": [image()], key: value}).encode())
    except (BadRequest, TooManyPictures):
        return
    assert key != "inputs"


@given(key=st.sampled_from(["name", "datatype", "shape", "data", "parameters"]), value=JSON)
def test_any_json_in_the_tensors_fields_is_refused_or_read(key: str, value: object) -> None:
    try:
        asked = read(request(tensor={**image(), key: value}))
    except (BadRequest, TooManyPictures):
        return
    np.testing.assert_array_equal(asked.images, NOISE)


def answered(outputs: list[v2.Output], *, ids: tuple[str, ...] = ()) -> Any:
    """The answer as tritonclient reads it."""
    from tritonclient.http import InferenceServerClient

    asked = v2.InferRequest(id="7", images=NOISE, outputs=tuple(outputs), record=True)
    encoded = write_answer(asked, PREDICTION, MODEL, ids=ids)
    return InferenceServerClient.parse_response_body(encoded.body, header_length=encoded.header_length)


@pytest.mark.parametrize("forms", [(False,) * 3, (True,) * 3, (True, False, True), (False, True, False)])
def test_tritonclient_reads_every_mix_of_json_and_bytes(forms: tuple[bool, bool, bool]) -> None:
    names = ("embedding", "probabilities", "heatmap")
    outputs = [v2.Output(name=name, binary=binary) for name, binary in zip(names, forms, strict=True)]
    result = answered(outputs)
    for name in names:
        array = result.as_numpy(name)
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, getattr(PREDICTION, name))
    assert [output["name"] for output in result.get_response()["outputs"]] == list(names)


def test_novelty_is_answered_where_the_model_has_it_and_refused_where_it_is_asked_for() -> None:
    unasked = v2.Output(name="novelty", binary=True, asked=False)
    heatmap = v2.Output(name="heatmap", binary=True, asked=False)
    assert [one["name"] for one in answered([heatmap, unasked]).get_response()["outputs"]] == ["heatmap"]
    with pytest.raises(BadRequest, match="'novelty' is asked for, expected some of probabilities"):
        answered([replace(unasked, asked=True)])
    novelty = np.array([0.25, 0.75], np.float32)
    asked = v2.InferRequest(id=None, images=NOISE, outputs=(heatmap, unasked), record=True)
    encoded = write_answer(asked, replace(PREDICTION, novelty=novelty), MODEL, ids=())
    body = json.loads(encoded.body[: encoded.header_length])
    assert [(one["name"], one["shape"]) for one in body["outputs"]][1] == ("novelty", [2])
    assert encoded.body.endswith(novelty.tobytes())


def test_an_answer_names_its_model_and_its_observations() -> None:
    outputs = [v2.Output(name="heatmap", binary=True)]
    body = answered(outputs, ids=("a", "b")).get_response()
    assert (body["id"], body["model_name"], body["model_version"]) == ("7", "emotion", "3")
    assert body["parameters"] == {"sha256": "5e" * 32, "ids": "a,b"}
    assert "ids" not in answered(outputs).get_response()["parameters"]


@pytest.mark.parametrize("binary", [False, True], ids=["json", "bytes"])
def test_classes_are_ranked_and_named(binary: bool) -> None:
    result = answered([v2.Output(name="probabilities", binary=binary, classification=2)])
    texts = [
        [text.decode() if isinstance(text, bytes) else text for text in row]
        for row in result.as_numpy("probabilities").tolist()
    ]
    assert texts == [["0.700000:1:happy", "0.200000:2:sad"], ["0.500000:0:angry", "0.250000:1:happy"]]


def test_more_classes_than_there_are_give_all_of_them() -> None:
    result = answered([v2.Output(name="probabilities", binary=True, classification=10**9)])
    assert result.as_numpy("probabilities").shape == (2, 3)
