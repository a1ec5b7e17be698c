"""Which test pictures the panels show: the same ones on every run, and from as many classes as there are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.metrics import IntervalEstimate

if TYPE_CHECKING:
    import pandas as pd

CORRECT, WRONG, CONFIDENT_WRONG = "correct", "wrong", "confident_wrong"
PANELS = (CORRECT, WRONG, CONFIDENT_WRONG)


@dataclass(frozen=True, kw_only=True)
class Face:
    """One test picture."""

    path: str
    """Relative to `prepared/`."""
    label: str
    """The true class."""


@dataclass(frozen=True, kw_only=True)
class Pick(Face):
    """One test picture with its label and prediction."""

    predicted: str
    """The predicted class."""
    confidence: float
    """Probability of `predicted`, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class PanelFace(Pick):
    """A picture of a panel."""

    tiles: Mapping[str, str]
    """Files by kind (`face`, `keras`, `onnx`), relative to the folder of `explain.json`."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one architecture predicts for a picture."""

    predicted: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class ComparedFace(Face):
    """A picture that every architecture explains."""

    tiles: Mapping[str, str]
    """Files: `face`, and one by architecture."""
    answers: Mapping[str, Answer]
    """By architecture."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far the heatmaps of Keras and of the ONNX file are apart."""

    pictures: int
    max_difference: float
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class QuantizedDifference:
    """How far the heatmaps of an int8 variant and the float32 model are apart."""

    pictures: int
    same_answer: int
    """Number of pictures for which both predict the same class; only these are compared."""
    mean_difference: float
    max_difference: float


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """Areas under the probability of the predicted class, in [0, 1]; see `pipelines.explain.faithfulness`."""

    pictures: int
    insertion: IntervalEstimate
    """Higher is better."""
    deletion: IntervalEstimate
    """Lower is better."""
    shuffled_insertion: IntervalEstimate
    """Of heatmaps with their cells at random places, as the next one."""
    shuffled_deletion: IntervalEstimate
    gain: IntervalEstimate
    """Insertion less deletion, less the same of shuffled heatmaps: 0 is chance."""


@dataclass(frozen=True, kw_only=True)
class Panels:
    """What was drawn about the selected variant."""

    method: str
    agreement: Agreement
    quantized: QuantizedDifference | None
    """None for a float32 model."""
    panels: Mapping[str, tuple[PanelFace, ...]]
    """By name of `PANELS`."""


@dataclass(frozen=True, kw_only=True)
class Explanation(Panels):
    """Everything that was drawn: `reports/explain/explain.json`."""

    architecture: str
    """Name of the selected variant."""
    architectures: tuple[str, ...]
    faces: tuple[ComparedFace, ...]
    faithfulness: Faithfulness | None
    """Of the selected variant; None if `explain.faithfulness_pictures` is 0."""


def pick_panels(predictions: pd.DataFrame, *, count: int) -> dict[str, tuple[Pick, ...]]:
    """Choose up to `count` test pictures for each of `PANELS`; no picture is in two of them.

    `confident_wrong` contains the wrong predictions with the highest probability, of any class.
    The others are drawn class by class in an order that depends on the file's name alone, so that
    they are neither the best nor the worst.

    Args:
        predictions: columns path, split, label, predicted, confidence.
        count: pictures per panel.
    """
    picks = _test_picks(predictions)
    wrong = [pick for pick in picks if pick.predicted != pick.label]
    confident = tuple(sorted(wrong, key=lambda pick: (-pick.confidence, pick.path))[:count])
    return {
        CORRECT: spread(pick for pick in picks if pick.predicted == pick.label)[:count],
        WRONG: spread(pick for pick in wrong if pick not in confident)[:count],
        CONFIDENT_WRONG: confident,
    }


def pick_faces(predictions: pd.DataFrame, *, count: int, but: Iterable[Pick]) -> tuple[Pick, ...]:
    """Choose `count` test pictures for all architectures, right or wrong, those in `but` only if need be."""
    taken = {pick.path for pick in but}
    picks = _test_picks(predictions)
    fresh = spread(pick for pick in picks if pick.path not in taken)
    seen = spread(pick for pick in picks if pick.path in taken)
    return (*fresh, *seen)[:count]


def pick_measured(predictions: pd.DataFrame, *, count: int) -> tuple[Pick, ...]:
    """Choose `count` test pictures on which the heatmaps are measured, right or wrong."""
    return spread(_test_picks(predictions))[:count]


def spread(picks: Iterable[Pick]) -> tuple[Pick, ...]:
    """Order pictures so that classes take turns; within a class the hash of the path decides."""
    turns: dict[str, list[Pick]] = {}
    for pick in sorted(picks, key=lambda pick: (_hash(pick.path), pick.path)):
        turns.setdefault(pick.label, []).append(pick)
    queue = [(turn, label, pick) for label, own in turns.items() for turn, pick in enumerate(own)]
    return tuple(pick for _, _, pick in sorted(queue, key=lambda item: item[:2]))


def _test_picks(predictions: pd.DataFrame) -> list[Pick]:
    test = predictions[predictions["split"] == "test"]
    columns = (test[name].tolist() for name in ("path", "label", "predicted", "confidence"))
    return [
        Pick(path=path, label=label, predicted=predicted, confidence=float(confidence))
        for path, label, predicted, confidence in zip(*columns, strict=True)
    ]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
