from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from serving.contract import InputSpec, ModelContract, TensorInfo, check_signature
from serving.errors import ContractInvalid, SignatureMismatch

CONTRACT = ModelContract(
    classes=("happy", "sad", "überrascht"),
    input=InputSpec(height=48, width=64, color="gray", crop="face", detector="haar", margin=0.25),
    architecture="lenet",
    weights="scratch",
    temperature=1.5,
    dataset="0" * 63 + "f",
)
INPUTS = (TensorInfo(name="image", dtype="uint8", shape=("batch", 48, 64, 3)),)
OUTPUTS = (
    TensorInfo(name="probabilities", dtype="float32", shape=("batch", 3)),
    TensorInfo(name="heatmap", dtype="float32", shape=("batch", 6, 8)),
    TensorInfo(name="embedding", dtype="float32", shape=("batch", 128)),
)


def test_a_contract_survives_its_own_json() -> None:
    text = CONTRACT.to_json()
    assert ModelContract.from_json(text) == CONTRACT
    assert ModelContract.from_json(text).to_json() == text


def test_json_is_canonical_and_keeps_letters() -> None:
    text = CONTRACT.to_json()
    assert "überrascht" in text
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("classes", ["only"]),
        ("classes", ["twice", "twice"]),
        ("classes", ["named", ""]),
        ("classes", "happy"),
        ("classes", ["happy", "sad\ud83d"]),
        ("classes", ["happy", "sad\x00"]),
        ("classes", ["happy", "sad\x1b[31m"]),
        ("classes", ["happy", "two\nlines"]),
        ("classes", ["happy", "two\u2028lines"]),
        ("classes", ["happy", "\u202edas"]),
        ("architecture", "le\udcffnet"),
        ("weights", "scratch\x07"),
        ("architecture", ""),
        ("weights", None),
        ("temperature", 0),
        ("temperature", True),
        ("temperature", "1"),
        ("dataset", "0" * 63),
        ("dataset", "G" * 64),
        ("version", 2),
        ("input", {"height": 48}),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_values_out_of_range_are_refused_by_name(field: str, value: object) -> None:
    data: dict[str, Any] = json.loads(CONTRACT.to_json())
    data[field] = value
    with pytest.raises(ContractInvalid, match="export the model again"):
        ModelContract.from_json(json.dumps(data))


@pytest.mark.parametrize(
    "name", ["überrascht", "驚き", "😀", "happy (smile)", "angry & sad", "👨\u200d👩\u200d👧", "a b"]
)
def test_every_visible_name_is_a_class(name: str) -> None:
    data = json.loads(CONTRACT.to_json()) | {"classes": ["neutral", name]}
    assert ModelContract.from_json(json.dumps(data)).classes == ("neutral", name)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"version": 1}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ContractInvalid):
        ModelContract.from_json(text)


def test_unknown_keys_are_refused() -> None:
    data = json.loads(CONTRACT.to_json()) | {"labels": []}
    with pytest.raises(ContractInvalid, match="'labels'"):
        ModelContract.from_json(json.dumps(data))


@pytest.mark.parametrize(
    "change",
    [
        {"height": 7},
        {"width": 1025},
        {"height": 48.0},
        {"color": "bgr"},
        {"crop": "center"},
        {"margin": 1.1},
        {"resize": "nearest"},
        {"detector": None},
        {"detector": "dlib"},
        {"crop": "none"},
    ],
    ids=str,
)
def test_input_specs_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ContractInvalid):
        replace(CONTRACT.input, **change)


def test_the_promised_tensors_pass() -> None:
    check_signature(CONTRACT, inputs=INPUTS, outputs=OUTPUTS)
    check_signature(CONTRACT, inputs=INPUTS, outputs=OUTPUTS[::-1])


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        pytest.param((), OUTPUTS, id="no-input"),
        pytest.param(
            (*INPUTS, TensorInfo(name="mean", dtype="float32", shape=(3,))), OUTPUTS, id="extra-input"
        ),
        pytest.param(INPUTS, OUTPUTS[:2], id="output-missing"),
        pytest.param((replace(INPUTS[0], dtype="float32"),), OUTPUTS, id="input-dtype"),
        pytest.param((replace(INPUTS[0], shape=("batch", 64, 48, 3)),), OUTPUTS, id="sides-swapped"),
        pytest.param((replace(INPUTS[0], shape=(1, 48, 64, 3)),), OUTPUTS, id="batch-fixed"),
        pytest.param(INPUTS, (replace(OUTPUTS[0], shape=("batch", 4)), *OUTPUTS[1:]), id="class-too-many"),
        pytest.param(INPUTS, (*OUTPUTS[:2], replace(OUTPUTS[2], shape=("batch", None))), id="embedding-open"),
        pytest.param(
            INPUTS, (OUTPUTS[0], replace(OUTPUTS[1], shape=("batch", 6)), OUTPUTS[2]), id="heatmap-flat"
        ),
    ],
)
def test_any_other_tensor_is_refused(inputs: tuple[TensorInfo, ...], outputs: tuple[TensorInfo, ...]) -> None:
    with pytest.raises(SignatureMismatch, match="expected"):
        check_signature(CONTRACT, inputs=inputs, outputs=outputs)
