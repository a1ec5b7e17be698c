"""The answer to a picture as frozen dataclasses, its JSON, and its numbers as observations keep them."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from serving.contract import Box, Face, ModelContract
from serving.detection import bodies
from serving.inference.onnx_classifier import Prediction

# float32 carries about seven digits; more would only be noise in the answer.
_DIGITS = 6
_HEATMAP_DIGITS = 4
# The largest finite float16 (IEEE 754 binary16).
_HALF_MAX = 65504.0
_ID = re.compile(r"[0-9a-f]{32}")
_RANDOM_BYTES, _RANDOM_BLOCK = 10, 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Emotion:
    """The model's answer to one input."""

    emotion: str | None
    """The most probable class; None when `probability` is below what was asked for."""
    probability: float
    """Of the most probable class, also when `emotion` is None."""
    probabilities: dict[str, float]
    """Of every class, in the model's order; they sum to 1."""
    set: tuple[str, ...] = ()
    """Classes of which one is the true one with probability `coverage`, most probable first; or empty."""
    coverage: float | None = None
    """Nominal coverage of `set`; None if the model has no threshold for it."""
    novelty: float | None = None
    """The larger, the less the input is like those of the training; None if the model does not say."""
    unfamiliar: bool | None = None
    """Whether `novelty` is above the threshold; None without a threshold, or without novelty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceAnswer:
    """The model's answer to one face."""

    face: Face
    answer: Emotion


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelReference:
    """Which model answered."""

    name: str
    version: str
    sha256: str
    sample: bool
    """Trained on the procedural sample: a demo, not for real faces."""
    canary: bool = False
    """Whether it answered as a canary's candidate instead of the live model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """Milliseconds of one request's parts."""

    queue: float
    """Waiting for a free worker."""
    decode: float
    faces: float
    preprocess: float
    inference: float
    """Of the batch that the picture was part of."""
    total: float
    """From the body's last byte to the answer, so also what the other pictures of the batch took."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """The answer to one picture."""

    id: str
    """32 hexadecimal digits; sorts by time."""
    answer: Emotion | None
    """Of the largest face, or of the whole picture; None when there was nothing to look at."""
    faces: tuple[FaceAnswer, ...]
    """The largest first."""
    possible_faces: tuple[Face, ...]
    """Places that look somewhat like a face and were not looked at."""
    whole: bool
    """Whether the whole picture was looked at: there is no face, it is filled by one, or by request."""
    width: int
    """Of the upright picture, px."""
    height: int
    model: ModelReference
    timings: Timings


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplainedInput:
    """The area of one input of the network, and its heatmap."""

    heatmap: NDArray[Any]
    """float [h, w] in [0, 1], for the most probable class."""
    area: Box
    """Of the upright picture, px; a face's square may reach beyond its border."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputSummary:
    """The answer to one picture as observations and scored tables keep it."""

    probabilities: bytes
    """Little-endian float32 [classes], in the model's order."""
    confidence: float
    """Probability of the most probable class."""
    entropy: float
    """Shannon entropy of the probabilities, nats."""
    embedding: bytes
    """Little-endian float16 [D]."""


def new_id() -> str:
    """A UUID of version 7 (RFC 9562, 5.7) as 32 hexadecimal digits: 48 bits of time, 74 random ones."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(_random_bytes(), "big")
    value = (milliseconds & (1 << 48) - 1) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{value:032x}"


def _random_bytes() -> bytes:
    """Ten random bytes.

    Fetched in blocks: the system call releases the interpreter's lock, and an event loop that did so
    for each request would wait for the busy threads each time (0.2 ms). `pop` and `extend` are atomic.
    """
    while True:
        try:
            return _random.pop()
        except IndexError:
            block = os.urandom(_RANDOM_BYTES * _RANDOM_BLOCK)
            _random.extend(block[at : at + _RANDOM_BYTES] for at in range(0, len(block), _RANDOM_BYTES))


_random: list[bytes] = []
# Two processes must never give the same ids.
os.register_at_fork(after_in_child=_random.clear)


def is_id(text: str) -> bool:
    """Whether an id has the form of `new_id`'s."""
    return _ID.fullmatch(text) is not None


def emotion_of(
    prediction: Prediction,
    row: int,
    contract: ModelContract,
    *,
    min_probability: float = 0.0,
    novelty_threshold: float | None = None,
) -> Emotion:
    """Read one row of a prediction.

    Args:
        prediction: of the model.
        row: which input.
        contract: of the model.
        min_probability: below it the emotion is None.
        novelty_threshold: above it an input is unfamiliar; None: the contract's.
    """
    probabilities, classes = prediction.probabilities[row], contract.classes
    index = int(probabilities.argmax())
    values = [round(float(value), _DIGITS) for value in probabilities]
    sure = float(probabilities[index]) >= min_probability
    conformal = contract.conformal
    novelty = None if prediction.novelty is None else float(prediction.novelty[row])
    if novelty_threshold is None and contract.novelty is not None:
        novelty_threshold = contract.novelty.threshold
    return Emotion(
        emotion=classes[index] if sure else None,
        probability=values[index],
        probabilities=dict(zip(classes, values, strict=True)),
        set=() if conformal is None else prediction_set(probabilities, classes, conformal.threshold),
        coverage=None if conformal is None else conformal.coverage,
        novelty=None if novelty is None else round(novelty, _DIGITS),
        unfamiliar=None if novelty is None or novelty_threshold is None else novelty > novelty_threshold,
    )


def prediction_set(probabilities: NDArray[Any], classes: Sequence[str], threshold: float) -> tuple[str, ...]:
    """Classes whose probability is at least the threshold, and the most probable one; most probable first."""
    order = (-probabilities).argsort(kind="stable").tolist()
    return tuple(
        classes[index] for place, index in enumerate(order) if not place or probabilities[index] >= threshold
    )


def as_json(detection: Detection) -> bodies.Detection:
    """The answer as `/detect` gives it."""
    timings = detection.timings
    return {
        "id": detection.id,
        **_emotion(detection.answer),
        "faces": [
            {"box": area_json(item.face.box), "score": round(item.face.score, 4), **_emotion(item.answer)}
            for item in detection.faces
        ],
        "possible_faces": [
            {"box": area_json(face.box), "score": round(face.score, 4)} for face in detection.possible_faces
        ],
        "whole_image": detection.whole,
        "image": {"width": detection.width, "height": detection.height},
        "model": _model(detection.model),
        "timings_ms": {
            "queue": round(timings.queue, 3),
            "decode": round(timings.decode, 3),
            "faces": round(timings.faces, 3),
            "preprocess": round(timings.preprocess, 3),
            "inference": round(timings.inference, 3),
            "total": round(timings.total, 3),
        },
    }


def explanation_json(detection: Detection, places: Sequence[ExplainedInput]) -> bodies.Explanation:
    """The answer as `/explain` gives it; with one place for each input: each face, or the whole picture."""
    body = as_json(detection)
    heatmaps = [_heatmap(place) for place in places]
    faces: list[bodies.ExplainedFace] = [
        # Places are as many as faces; or one, of a whole picture, in which there is one face or none.
        {**face, **heatmap}
        for face, heatmap in zip(body["faces"], heatmaps, strict=False)
    ]
    first: bodies.Heatmap = heatmaps[0] if heatmaps else {"heatmap": None, "area": None}
    return {**body, "faces": faces, **first}


def _model(model: ModelReference) -> bodies.ModelReference:
    """Which model answered, as every answer carries it; `canary` is there only when it is true."""
    body: bodies.ModelReference = {
        "name": model.name,
        "version": model.version,
        "sha256": model.sha256,
        "sample": model.sample,
    }
    if model.canary:
        body["canary"] = True
    return body


def encode(body: Any) -> bytes:
    """JSON bytes; numbers may be NumPy's."""
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def _emotion(answer: Emotion | None) -> bodies.Emotion:
    if answer is None:
        return {"emotion": None, "probability": None, "probabilities": None}
    body: bodies.Emotion = {
        "emotion": answer.emotion,
        "probability": answer.probability,
        "probabilities": answer.probabilities,
    }
    if answer.coverage is not None:
        body["set"] = list(answer.set)
        body["coverage"] = answer.coverage
    if answer.novelty is not None:
        body["novelty"] = answer.novelty
    if answer.unfamiliar is not None:
        body["unfamiliar"] = answer.unfamiliar
    return body


def _heatmap(place: ExplainedInput) -> bodies.Heatmap:
    rows = [[round(float(value), _HEATMAP_DIGITS) for value in row] for row in place.heatmap]
    return {"heatmap": rows, "area": area_json(place.area)}


def area_json(box: Box) -> bodies.Area:
    """A rectangle as answers give it."""
    left, top, width, height = box
    return {"left": left, "top": top, "width": width, "height": height}


def summarize_output(probabilities: NDArray[np.float32], embedding: NDArray[np.float32]) -> OutputSummary:
    """Turn one row of a `Prediction` into its summary.

    Args:
        probabilities: float32 [classes], sums to 1.
        embedding: float32 [D].
    """
    values = probabilities.tolist()
    return OutputSummary(
        probabilities=probabilities.astype("<f4", copy=False).tobytes(),
        confidence=max(values),
        entropy=entropy(values),
        # A feature beyond float16's range is kept as its largest value, not as infinity.
        embedding=embedding.clip(-_HALF_MAX, _HALF_MAX).astype("<f2").tobytes(),
    )


def entropy(probabilities: Sequence[float]) -> float:
    """Shannon entropy in nats: 0 when certain, log(classes) when undecided."""
    return abs(sum(value * math.log(value) for value in probabilities if value > 0))
