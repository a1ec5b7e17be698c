"""Compares the ONNX file's outputs with Keras' on real pictures with different predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serving.contract.arrays import Image
from serving.contract.model import EMBEDDING, IMAGE, NOVELTY, OUTPUTS, TensorInfo

if TYPE_CHECKING:
    from pipelines.export.novelty import NoveltyReference

Answers = Mapping[str, NDArray[np.float32]]
"""One array per output of the contract, batch first."""

BATCHES = (1, 5)
"""Batch sizes that are compared: one picture, and several in one run."""
_NUMPY_NAMES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


def varied(probabilities: NDArray[np.float32], count: int, *, first: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Choose pictures with very different predictions.

    Starting from the surest one, the picture farthest from all chosen ones is taken next.

    Args:
        probabilities: of the candidates, [n, classes].
        count: how many to choose, at most n.
        first: which candidates are to be taken before any other, [n].

    Returns:
        Indices, [count].
    """
    chosen = [int(np.argmax(np.where(first, probabilities.max(axis=1), -1)))]
    while len(chosen) < count:
        apart = np.abs(probabilities[:, np.newaxis] - probabilities[chosen]).max(axis=2).min(axis=1)
        apart = np.where(first, apart, apart - 1)
        apart[chosen] = -np.inf
        chosen.append(int(np.argmax(apart)))
    return np.array(chosen)


def least_difference(answers: NDArray[np.float32]) -> float:
    """Of any two rows of [n, …]: the largest difference in any value, for the closest pair."""
    rows = answers.reshape(len(answers), -1)
    apart = np.abs(rows[:, np.newaxis] - rows).max(axis=2)
    return float(apart[~np.eye(len(rows), dtype=bool)].min())


def differences(
    session: Any, images: Image, expected: Answers, *, reference: NoveltyReference | None = None
) -> dict[str, float]:
    """Run the file at every size of `BATCHES` and compare.

    Args:
        session: ONNX Runtime's, see `serving.inference.sessions.open_session`.
        images: uint8 [n, H, W, 3], n ≥ the largest batch.
        expected: Keras' answers to them.
        reference: of the file's output `novelty`; None if it has none. Novelty is compared with NumPy's of
            the same embedding, so that its own rounding is seen without that of the embedding.

    Returns:
        Output → largest absolute difference, relative to the output's largest value where that is
        above 1 (an embedding has no scale of its own, and float32 no absolute precision).
    """
    names = OUTPUTS if reference is None else (*OUTPUTS, NOVELTY)
    worst = dict.fromkeys(names, 0.0)
    for size in BATCHES:
        for start in range(0, len(images) - size + 1, size):
            part = slice(start, start + size)
            got = dict(zip(names, session.run(list(names), {IMAGE: images[part]}), strict=True))
            wanted = {name: expected[name][part] for name in OUTPUTS}
            if reference is not None:
                wanted[NOVELTY] = reference.novelty(got[EMBEDDING]).astype(np.float32)
            for name, values in got.items():
                scale = max(1.0, np.abs(expected[name]).max()) if name in expected else 1.0
                apart = np.abs(values - wanted[name]).max() / scale
                # A NaN is larger than every tolerance.
                worst[name] = max(worst[name], float(np.nan_to_num(apart, nan=np.inf)))
    return worst


def tensors(values: Any) -> list[TensorInfo]:
    """A session's inputs or outputs, as the contract checks them."""
    return [
        TensorInfo(name=value.name, dtype=_NUMPY_NAMES.get(value.type, value.type), shape=tuple(value.shape))
        for value in values
    ]
