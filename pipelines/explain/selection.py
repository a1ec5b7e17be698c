"""Which test pictures the panels show: the same ones on every run, and from as many classes as there are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

CORRECT, WRONG, CONFIDENT_WRONG = "correct", "wrong", "confident_wrong"
PANELS = (CORRECT, WRONG, CONFIDENT_WRONG)


@dataclass(frozen=True, kw_only=True)
class Pick:
    """One test picture with its label and prediction."""

    path: str
    """Relative to `prepared/`."""
    label: str
    """The true class."""
    predicted: str
    """The predicted class."""
    confidence: float
    """Probability of `predicted`, in [0, 1]."""


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
