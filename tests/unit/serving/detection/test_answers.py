"""Ids, emotions and their JSON."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace

import numpy as np
import orjson
import pytest

from serving.contract import ConformalThreshold, Face, NoveltyOutput
from serving.detection.bodies import Area
from serving.detection.responses import (
    Detection,
    Emotion,
    ExplainedInput,
    FaceAnswer,
    ModelReference,
    Timings,
    as_json,
    emotion_of,
    encode,
    explanation_json,
    is_id,
    new_id,
)
from serving.inference.onnx_classifier import Prediction
from tests.support.onnx_models import make_contract

CLASSES = ("angry", "happy", "sad")
HAPPY = Emotion(emotion="happy", probability=0.7, probabilities={"angry": 0.1, "happy": 0.7, "sad": 0.2})


DETECTION = Detection(
    id="0" * 32,
    answer=HAPPY,
    faces=(FaceAnswer(face=Face((1, 2, 3, 4), 0.912345), answer=HAPPY),),
    possible_faces=(Face((30, 20, 10, 10), 0.512345),),
    whole=False,
    width=64,
    height=48,
    model=ModelReference(name="emotion", version="3", sha256="a" * 64, sample=True),
    timings=Timings(queue=0.1, decode=1.0, faces=2.0, preprocess=3.0, inference=4.0, total=10.1),
)


def test_an_id_is_a_uuid_of_version_7_that_tells_the_time() -> None:
    made = uuid.UUID(new_id())
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert abs((made.int >> 80) / 1000 - time.time()) < 5


def test_ids_differ_and_sort_by_time() -> None:
    first = new_id()
    time.sleep(0.002)
    assert first < new_id()
    assert len({new_id() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("text", ["", "g" * 32, "0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n"])
def test_what_is_not_an_id_is_recognised(text: str) -> None:
    assert is_id(new_id())
    assert not is_id(text)


CONTRACT = make_contract(classes=CLASSES)


def predicted(*probabilities: float, novelty: float | None = None) -> Prediction:
    """A prediction whose second row is the one given."""
    rows = np.array([[1, 0, 0], probabilities], np.float32)
    values = None if novelty is None else np.array([-1, novelty], np.float32)
    return Prediction(
        probabilities=rows, heatmap=np.zeros((2, 1, 1), np.float32), embedding=rows, novelty=values
    )


def test_the_most_probable_class_is_the_emotion() -> None:
    answer = emotion_of(predicted(0.1, 0.7, 0.2), 1, CONTRACT)
    assert (answer.emotion, answer.probability) == ("happy", 0.7)
    assert list(answer.probabilities) == list(CLASSES)


@pytest.mark.parametrize(
    ("least", "emotion"), [(0.0, "happy"), (0.75, "happy"), (0.7500001, None), (1.0, None)]
)
def test_below_the_wanted_probability_there_is_no_emotion(least: float, emotion: str | None) -> None:
    answer = emotion_of(predicted(0.125, 0.75, 0.125), 1, CONTRACT, min_probability=least)
    assert answer.emotion == emotion
    assert answer.probability == 0.75


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ((0.25, 0.5, 0.25), ["happy", "angry", "sad"]),
        ((0.125, 0.625, 0.25), ["happy", "sad"]),
        ((0.0625, 0.75, 0.1875), ["happy"]),
    ],
)
def test_the_set_has_every_class_from_the_threshold_on(
    probabilities: tuple[float, ...], expected: list[str]
) -> None:
    threshold = ConformalThreshold(threshold=0.25, coverage=0.9, measured_coverage=0.8)
    answer = emotion_of(predicted(*probabilities), 1, replace(CONTRACT, conformal=threshold))
    body = as_json(replace(DETECTION, answer=answer))
    assert (body["set"], body["coverage"]) == (expected, 0.9)


def test_the_set_is_never_empty() -> None:
    threshold = ConformalThreshold(threshold=0.9, coverage=0.1, measured_coverage=0.1)
    assert emotion_of(predicted(0.3, 0.3, 0.4), 1, replace(CONTRACT, conformal=threshold)).set == ("sad",)


@pytest.mark.parametrize(
    ("own", "setting", "unfamiliar"),
    [(0.75, None, False), (0.7, None, True), (0.75, 0.5, True), (None, None, None), (None, 0.7, True)],
)
def test_unfamiliar_is_above_the_setting_or_else_the_contracts_threshold(
    own: float | None, setting: float | None, unfamiliar: bool | None
) -> None:
    contract = replace(CONTRACT, novelty=NoveltyOutput(threshold=own))
    answer = emotion_of(predicted(0.1, 0.7, 0.2, novelty=0.75), 1, contract, novelty_threshold=setting)
    assert (answer.novelty, answer.unfamiliar) == (0.75, unfamiliar)
    body = as_json(replace(DETECTION, answer=answer))
    assert body["novelty"] == 0.75
    assert body.get("unfamiliar") == unfamiliar


def test_a_model_without_these_blocks_answers_as_before() -> None:
    body = as_json(replace(DETECTION, answer=emotion_of(predicted(0.1, 0.7, 0.2), 1, CONTRACT)))
    assert not {"set", "coverage", "novelty", "unfamiliar"} & body.keys()


def test_the_json_of_an_answer_names_everything() -> None:
    body = as_json(DETECTION)
    assert body["emotion"] == "happy"
    assert body["faces"][0]["box"] == {"left": 1, "top": 2, "width": 3, "height": 4}
    assert body["faces"][0]["score"] == 0.9123
    assert body["possible_faces"] == [
        {"box": {"left": 30, "top": 20, "width": 10, "height": 10}, "score": 0.5123}
    ]
    assert body["model"] == {"name": "emotion", "version": "3", "sha256": "a" * 64, "sample": True}
    assert body["timings_ms"]["total"] == 10.1
    assert "heatmap" not in body
    # Programs may rely on the order, for example where they show the answer.
    assert list(orjson.loads(encode(body))) == [
        "id", "emotion", "probability", "probabilities", "faces", "possible_faces", "whole_image",
        "image", "model", "timings_ms",
    ]  # fmt: skip
    assert orjson.loads(encode(body)) == body


def test_without_anything_to_look_at_the_three_answers_are_null() -> None:
    body = as_json(replace(DETECTION, answer=None, faces=()))
    assert [body[name] for name in ("emotion", "probability", "probabilities")] == [None] * 3


def test_an_explanation_has_a_grid_or_null() -> None:
    heatmap = np.array([[0.0, 0.123456], [0.5, 1.0]], np.float32)
    body = explanation_json(DETECTION, [ExplainedInput(heatmap=heatmap, area=(-1, 0, 7, 8))])
    face = body["faces"][0]
    area = Area(left=-1, top=0, width=7, height=8)
    for explained in ((body["heatmap"], body["area"]), (face["heatmap"], face["area"])):
        assert explained == ([[0.0, 0.1235], [0.5, 1.0]], area)
    nothing = explanation_json(replace(DETECTION, answer=None, faces=()), [])
    assert (nothing["heatmap"], nothing["area"]) == (None, None)
