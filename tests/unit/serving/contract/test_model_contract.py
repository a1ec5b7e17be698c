from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.contract import (
    ConformalThreshold,
    DetectorFile,
    InputSpec,
    ModelContract,
    NoveltyOutput,
    TensorInfo,
    check_signature,
)
from serving.errors import ContractInvalid, SignatureMismatch

CONTRACT = ModelContract(
    classes=("happy", "sad", "überrascht"),
    input=InputSpec(height=48, width=64, color="gray", crop="face", detector="haar", margin=0.25),
    architecture="lenet",
    weights="scratch",
    temperature=1.5,
    dataset="0" * 63 + "f",
)
BLOCKS: dict[str, Any] = {
    "face_detector": {"name": "cascade.xml", "sha256": "a" * 64},
    "flip_average": True,
    "conformal": {"threshold": 0.125, "coverage": 0.9, "measured_coverage": 0.90625},
    "novelty": {"threshold": 3.5},
}
FULL = replace(
    CONTRACT,
    face_detector=DetectorFile(name="cascade.xml", sha256="a" * 64),
    flip_average=True,
    conformal=ConformalThreshold(threshold=0.125, coverage=0.9, measured_coverage=0.90625),
    novelty=NoveltyOutput(threshold=3.5),
)
# What `to_json` of the contract before version 2 wrote for CONTRACT.
TEXT_1 = (
    '{"architecture":"lenet","classes":["happy","sad","überrascht"],"dataset":"' + "0" * 63 + 'f",'
    '"input":{"color":"gray","crop":"face","detector":"haar","height":48,"margin":0.25,"resize":"area","width":64},'
    '"temperature":1.5,"version":1,"weights":"scratch"}'
)
NOVELTY = TensorInfo(name="novelty", dtype="float32", shape=("batch",))
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


def test_a_contract_without_blocks_is_the_same_text_as_before_version_2() -> None:
    assert CONTRACT.to_json() == TEXT_1
    assert ModelContract.from_json(TEXT_1) == CONTRACT
    assert CONTRACT.version == 1


def test_a_contract_with_blocks_is_version_2() -> None:
    assert json.loads(FULL.to_json()) == json.loads(TEXT_1) | BLOCKS | {"version": 2}


texts = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=8)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
fractions = st.floats(0, 1)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
contracts = st.builds(
    ModelContract,
    classes=st.lists(texts, min_size=2, max_size=9, unique=True).map(tuple),
    input=st.just(CONTRACT.input),
    architecture=texts,
    weights=texts,
    temperature=st.floats(1e-3, 1e3),
    dataset=digests,
    face_detector=st.none() | st.builds(DetectorFile, name=texts, sha256=digests),
    flip_average=st.booleans(),
    conformal=st.none()
    | st.builds(ConformalThreshold, threshold=fractions, coverage=fractions, measured_coverage=fractions),
    novelty=st.none() | st.builds(NoveltyOutput, threshold=st.none() | finite),
)


@given(contracts)
def test_every_combination_of_blocks_survives_its_own_json(contract: ModelContract) -> None:
    text = contract.to_json()
    assert ModelContract.from_json(text) == contract
    data = json.loads(text)
    assert data["version"] == (2 if data.keys() & BLOCKS.keys() else 1)
    assert ("novelty" in contract.outputs) == ("novelty" in data)


def test_version_2_without_blocks_is_read() -> None:
    assert ModelContract.from_json(json.dumps(json.loads(TEXT_1) | {"version": 2})) == CONTRACT


@pytest.mark.parametrize("block", BLOCKS)
def test_version_1_has_no_blocks(block: str) -> None:
    with pytest.raises(ContractInvalid) as refused:
        ModelContract.from_json(json.dumps(json.loads(TEXT_1) | {block: BLOCKS[block]}))
    assert refused.value.field == block


DETECTOR, CONFORMAL = BLOCKS["face_detector"], BLOCKS["conformal"]


@pytest.mark.parametrize(
    ("block", "value", "field"),
    [
        ("face_detector", None, "face_detector"),
        ("face_detector", "a" * 64, "face_detector"),
        ("face_detector", DETECTOR | {"sha256": "A" * 64}, "face_detector.sha256"),
        ("face_detector", DETECTOR | {"sha256": 7}, "face_detector.sha256"),
        ("face_detector", DETECTOR | {"name": ""}, "face_detector.name"),
        ("face_detector", DETECTOR | {"name": "models/cascade.xml"}, "face_detector.name"),
        ("face_detector", DETECTOR | {"name": "C:\\cascade.xml"}, "face_detector.name"),
        ("flip_average", None, "flip_average"),
        ("flip_average", 1, "flip_average"),
        ("flip_average", {}, "flip_average"),
        ("conformal", 0.9, "conformal"),
        ("conformal", CONFORMAL | {"threshold": -0.01}, "conformal.threshold"),
        ("conformal", CONFORMAL | {"threshold": float("nan")}, "conformal.threshold"),
        ("conformal", CONFORMAL | {"coverage": 1.01}, "conformal.coverage"),
        ("conformal", CONFORMAL | {"coverage": True}, "conformal.coverage"),
        ("conformal", CONFORMAL | {"measured_coverage": None}, "conformal.measured_coverage"),
        ("novelty", True, "novelty"),
        ("novelty", {"threshold": "1"}, "novelty.threshold"),
        ("novelty", {"threshold": float("inf")}, "novelty.threshold"),
        ("novelty", {"threshold": float("nan")}, "novelty.threshold"),
    ],
)
def test_malformed_blocks_are_refused_by_name(block: str, value: object, field: str) -> None:
    with pytest.raises(ContractInvalid) as refused:
        ModelContract.from_json(json.dumps(json.loads(FULL.to_json()) | {block: value}))
    assert refused.value.field == field


def test_a_model_of_whole_pictures_has_no_face_detector() -> None:
    whole = replace(CONTRACT.input, crop="none", detector=None)
    with pytest.raises(ContractInvalid) as refused:
        replace(FULL, input=whole)
    assert refused.value.field == "face_detector"


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
        ("version", 0),
        ("version", 3),
        ("version", True),
        ("version", "1"),
        ("version", None),
        ("version", [2]),
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


@pytest.mark.parametrize("contract", [CONTRACT, FULL], ids=["version-1", "version-2"])
@pytest.mark.parametrize("place", ["", "input", "face_detector", "conformal", "novelty"])
def test_unknown_and_missing_keys_are_refused_by_name(contract: ModelContract, place: str) -> None:
    data = json.loads(contract.to_json())
    if place and place not in data:
        return
    changed = data[place] if place else data
    changed["labels"] = []
    with pytest.raises(ContractInvalid) as refused:
        ModelContract.from_json(json.dumps(data))
    assert refused.value.field == "labels"
    del changed["labels"]
    missing = min(changed.keys() - {"face_detector", "flip_average", "conformal", "novelty", "version"})
    del changed[missing]
    with pytest.raises(ContractInvalid) as refused:
        ModelContract.from_json(json.dumps(data))
    assert refused.value.field == missing


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
    check_signature(FULL, inputs=INPUTS, outputs=(*OUTPUTS, NOVELTY))


@pytest.mark.parametrize(
    ("contract", "outputs", "tensor"),
    [
        (FULL, OUTPUTS, "outputs"),
        (CONTRACT, (*OUTPUTS, NOVELTY), "outputs"),
        (FULL, (*OUTPUTS, replace(NOVELTY, dtype="float64")), "novelty"),
        (FULL, (*OUTPUTS, replace(NOVELTY, shape=("batch", 1))), "novelty"),
        (FULL, (*OUTPUTS, replace(NOVELTY, shape=(1,))), "novelty"),
        (FULL, (*OUTPUTS, replace(NOVELTY, shape=())), "novelty"),
    ],
    ids=["absent", "not-promised", "dtype", "column", "batch-fixed", "scalar"],
)
def test_the_output_novelty_is_held_to_the_contract(
    contract: ModelContract, outputs: tuple[TensorInfo, ...], tensor: str
) -> None:
    with pytest.raises(SignatureMismatch) as refused:
        check_signature(contract, inputs=INPUTS, outputs=outputs)
    assert refused.value.tensor == tensor


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
