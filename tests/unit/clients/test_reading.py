"""Answers of an older, a newer and a broken service."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from mien_client.answers import Batch, Detection, Explanation, Prediction
from mien_client.errors import Overloaded, Sent
from mien_client.reading import read_answer
from serving.detection.bodies import EXAMPLES
from serving.errors.requests import QueueFull
from serving.http.problems import problem

DETECTION: dict[str, Any] = dict(EXAMPLES["Detection"])


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_the_examples_of_the_document() -> None:
    detection = read_answer(Detection, body(DETECTION))
    assert detection.emotion == "happy"
    assert detection.faces[0].box.width == 164
    assert detection.set == ("happy",)
    assert detection.probabilities == {"angry": 0.009, "happy": 0.941, "neutral": 0.05}
    explanation = read_answer(Explanation, body(EXAMPLES["Explanation"]))
    assert explanation.faces[0].heatmap == ((0.0, 0.2), (0.4, 1.0))


def test_keys_of_a_newer_service_are_ignored() -> None:
    newer = DETECTION | {"mood": 1, "image": DETECTION["image"] | {"depth": 8}}
    assert read_answer(Detection, body(newer)) == read_answer(Detection, body(DETECTION))


def test_optional_keys_may_be_absent() -> None:
    older = {key: value for key, value in DETECTION.items() if key not in ("set", "coverage", "novelty")}
    detection = read_answer(Detection, body(older))
    assert (detection.set, detection.coverage, detection.novelty) == (None, None, None)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        pytest.param(
            {"model": {"name": "emotion", "sha256": "", "sample": True}}, "model.version", id="missing"
        ),
        pytest.param({"faces": [{**DETECTION["faces"][0], "score": "high"}]}, "faces[0].score", id="text"),
        pytest.param({"probabilities": {"happy": None}}, "probabilities.happy", id="null"),
        pytest.param({"whole_image": 1}, "whole_image", id="int-is-not-bool"),
        pytest.param({"image": {"width": True, "height": 1}}, "image.width", id="bool-is-not-int"),
        pytest.param({"faces": {}}, "faces", id="object"),
        pytest.param({"image": [1, 2]}, "image", id="array"),
    ],
)
def test_the_message_names_the_place_of_what_does_not_fit(change: dict[str, Any], place: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        read_answer(Detection, body(DETECTION | change))
    assert str(caught.value).startswith(f"{place} is ")


@pytest.mark.parametrize("data", [b"", b"<html>", b"\xff", b"[]", b"null"])
def test_what_is_not_an_object_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"the body is not JSON|the answer is"):
        read_answer(Detection, data)


def test_a_number_without_a_fraction_is_a_float() -> None:
    detection = read_answer(Detection, body(DETECTION | {"coverage": 1}))
    assert isinstance(detection.coverage, float)


def test_times_have_their_zone() -> None:
    size = {"width": 1, "height": 1}
    stored = {
        "id": "a", "time": "2026-11-30T10:00:00.500+00:00", "emotion": "sad", "probability": 1,
        "probabilities": {}, "entropy": 0, "novelty": None, "faces": 0, "box": None, "whole_image": True,
        "image": size, "input": {"brightness": 0, "contrast": 0, "sharpness": 0}, "feedback": None,
        "other_faces": [], "picture_kept": False, "model": {"name": None, "version": "1", "sha256": ""},
        "lineage": {"run_id": "f", "nested": [1]},
    }  # fmt: skip
    prediction = read_answer(Prediction, body(stored))
    assert prediction.time == datetime(2026, 11, 30, 10, 0, 0, 500_000, tzinfo=UTC)
    assert prediction.lineage == {"run_id": "f", "nested": [1]}


def test_an_entry_of_a_batch_gives_its_result_or_raises_its_problem() -> None:
    refused = problem(QueueFull(waiting=2, limit=1), request_id="r1")
    sent = {"results": [{"file": "a", "result": DETECTION}, {"file": "b", "problem": refused}]}
    first, second = read_answer(Batch, body(sent)).results
    assert first.detection() == first.result
    with pytest.raises(Overloaded) as caught:
        second.detection()
    assert caught.value.problem == second.problem
    assert caught.value.sent == Sent(call="picture b", request_id="r1", traceparent=None, attempts=1)
