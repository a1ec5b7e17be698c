"""Which pictures a person should label next: informative ones that are unlike each other.

    scores = informativeness(entropy=…, classes=…, novelty=…, disagreement=…)
    rows = choose_next(embeddings, scores, labelled=…, limit=10)

The score is the mean of the known ones of three parts in [0, 1]: the entropy of the model's answer
(uncertainty sampling: B. Settles, "Active Learning Literature Survey", 2009, section 3.1), novelty, and the
disagreement of two models (query by committee: the same, section 3.2).

The highest scores alone would be many pictures of one kind, and those farthest from all others among them
taught LeNet less than random ones (`python -m benchmarks.label_queue`). So the choice is drawn, each picture
with a probability proportional to its score and to its distance from the nearest labelled or chosen
one: the seeding of k-means++ (Arthur and Vassilvitskii, 2007), since the cosine distance is half the squared
distance of unit vectors, with weights (F. Zhdanov, "Diverse mini-batch Active Learning", 2019). NumPy only;
the same rows give the same choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAR_DUPLICATE = 0.01
"""Cosine distance below which two pictures are near-duplicates.

Measured with the recorded LeNet on 600 pictures of the sample: compressed as JPEG of quality 75, a picture is
nearer than 0.0098 to itself in 95 % of the cases; 5 % brighter, 0.0009; moved by 2 %, 0.0064 in half of them.
The nearest picture of another person is farther than 0.02 in 99 %, median 0.077."""


_LEAST_SCORE = 1e-6
"""So that pictures of which the model is certain can be drawn when nothing else is left."""


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """Embeddings of pictures, whose models may differ."""

    models: NDArray[np.str_]
    """[n]: SHA-256 of the model; embeddings of different models are orthogonal."""
    vectors: NDArray[np.float32]
    """[n, D]: unit length, or all zeros; padded with zeros to the longest."""

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: NDArray[np.int64] | list[int]) -> Embeddings:
        return Embeddings(models=self.models[rows], vectors=self.vectors[rows])


def stack_embeddings(models: Sequence[str], embeddings: Sequence[NDArray[np.float16]]) -> Embeddings:
    """Return the embeddings of pictures as one matrix.

    Args:
        models: SHA-256 of each picture's model.
        embeddings: float16 [D] of each picture, D by model; values that are not finite count as 0.
    """
    vectors = np.zeros((len(embeddings), max((len(one) for one in embeddings), default=0)), np.float32)
    for row, one in zip(vectors, embeddings, strict=True):
        row[: len(one)] = one
    np.nan_to_num(vectors, copy=False, posinf=0.0, neginf=0.0)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(norms > 0, norms, 1)
    return Embeddings(models=np.array(models, dtype=np.str_), vectors=vectors)


def informativeness(
    *,
    entropy: NDArray[np.float64],
    classes: NDArray[np.int64],
    novelty: NDArray[np.float64],
    disagreement: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Score pictures by how much a label would tell, float64 [n] in [0, 1].

    Args:
        entropy: of the answer, nats, [n].
        classes: number of the model's classes, [n].
        novelty: share of validation pictures that are less novel, [n]; NaN where the model does not say.
        disagreement: distance between two models' answers in [0, 1], [n]; NaN where only one answered.
    """
    uncertainty = entropy / np.log(np.maximum(classes, 2))
    parts = np.stack([uncertainty, novelty, disagreement]).clip(0.0, 1.0)
    return np.asarray(np.nanmean(parts, axis=0), np.float64)


def choose_next(
    candidates: Embeddings, scores: NDArray[np.float64], *, labelled: Embeddings, limit: int, seed: int = 0
) -> list[int]:
    """Draw pictures to label: high scores, unlike each other and unlike the labelled ones.

    Args:
        candidates: [n].
        scores: [n], in [0, 1], see `informativeness`.
        labelled: pictures that have labels; the near-duplicates of these are left out too.
        limit: maximum number of rows.
        seed: of the draw.

    Returns:
        At most `limit` rows of `candidates`, in the order of the choice.
    """
    random = np.random.default_rng(seed)
    nearest = _nearest(candidates, labelled)
    chosen: list[int] = []
    while len(chosen) < limit:
        # Without anything labelled all are equally far.
        distance = np.where(np.isinf(nearest), 1.0, nearest) * (nearest >= NEAR_DUPLICATE)
        weights = distance * np.maximum(scores, _LEAST_SCORE)
        total = weights.sum()
        if total <= 0.0:
            break
        row = int(random.choice(len(weights), p=weights / total))
        chosen.append(row)
        nearest = np.minimum(nearest, _nearest(candidates, candidates[[row]]))
        nearest[row] = -1.0
    return chosen


def _nearest(points: Embeddings, centres: Embeddings) -> NDArray[np.float64]:
    """Return the cosine distance of each point to the nearest centre, [n]; infinity without centres."""
    if not len(centres):
        return np.full(len(points), np.inf)
    # The rest of the longer vectors is zeros wherever the models are the same.
    shared = min(points.vectors.shape[1], centres.vectors.shape[1])
    similarity = points.vectors[:, :shared] @ centres.vectors[:, :shared].T
    same = points.models[:, None] == centres.models[None, :]
    return np.asarray(np.where(same, 1.0 - similarity, 1.0).min(axis=1), np.float64)
