"""Is the int8 file the same model still? Its answers beside those of its float twin, on the same pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.export.parity import BATCHES, least_difference, varied
from serving.contract.arrays import Image
from serving.contract.model import EMBEDDING, HEATMAP, OUTPUTS, PROBABILITIES
from serving.inference import OnnxClassifier, Prediction

# The kernels add whole numbers: in a batch or alone, what is left to differ is float32 at both ends.
_BATCH_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far an int8 file is from its float twin."""

    pictures: int
    same_answer: float
    """Share of pictures with the same most probable class."""
    differences: dict[str, float]
    """Output → largest difference; of the embedding relative to its largest value, of the heatmap, which
    shows the most probable class, among pictures of the same answer."""


def agreement(twin: OnnxClassifier, quantized: OnnxClassifier, pictures: Image) -> Agreement:
    """Compare both on uint8 [n, H, W, 3], n ≥ 1."""
    expected, got = twin.predict(pictures), quantized.predict(pictures)
    same = expected.probabilities.argmax(axis=1) == got.probabilities.argmax(axis=1)
    largest = max(float(np.abs(expected.embedding).max()), 1e-12)
    scale = dict.fromkeys(OUTPUTS, 1.0) | {EMBEDDING: largest}
    rows = dict.fromkeys(OUTPUTS, np.full(len(same), True)) | {HEATMAP: same}
    return Agreement(
        pictures=len(pictures),
        same_answer=float(same.mean()),
        differences={
            name: _largest(getattr(expected, name)[rows[name]], getattr(got, name)[rows[name]]) / scale[name]
            for name in OUTPUTS
        },
    )


def fault(twin: OnnxClassifier, quantized: OnnxClassifier, pictures: Image) -> str | None:
    """What makes an int8 file useless, in a few words; None if nothing does.

    Args:
        twin: the float model.
        quantized: its int8 variant.
        pictures: uint8 [n, H, W, 3], n ≥ 2; those that the twin tells apart best are looked at.
    """
    probabilities = twin.predict(pictures).probabilities
    count = min(max(BATCHES), len(pictures))
    chosen = pictures[varied(probabilities, count, first=np.full(len(pictures), True))]
    together = quantized.predict(chosen)
    alone = [quantized.predict(chosen[index : index + 1]) for index in range(count)]
    return _broken(together) or _alike(together) or _depends_on_batch(together, alone)


def _broken(answers: Prediction) -> str | None:
    broken = [name for name in OUTPUTS if not np.isfinite(getattr(answers, name)).all()]
    return f"`{broken[0]}` holds values that are not finite" if broken else None


def _alike(answers: Prediction) -> str | None:
    apart = max(least_difference(getattr(answers, name)) for name in (PROBABILITIES, EMBEDDING))
    return None if apart > 0 else "two pictures that the float model tells apart get the same answer"


def _depends_on_batch(together: Prediction, alone: list[Prediction]) -> str | None:
    for name in OUTPUTS:
        single = np.concatenate([getattr(answer, name) for answer in alone])
        if not (apart := _largest(single, getattr(together, name))) <= _BATCH_TOLERANCE:
            return f"`{name}` of one picture alone and in a batch differ by {apart:.2g}"
    return None


def _largest(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return float(np.abs(first - second).max(initial=0.0))
