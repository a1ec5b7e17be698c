"""Metrics of a multi-class classifier; those of a confusion matrix also take a stack of them.

A confusion matrix is int or float [..., actual, predicted]. The leading axes are free, so that one call
scores every resample of a bootstrap. Undefined values are NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
"""int64 [n], class indices."""
Floats = NDArray[np.float64]
Matrix = NDArray[Any]
"""int or float [..., classes, classes]: rows are actual, columns predicted."""

# Softmax underflows to 0 for a confident network; half of the sixth decimal, at which
# predictions are kept, is the smallest probability that differs from 0 in the predictions.
SMALLEST_PROBABILITY = 5e-7


def confusion_matrix(actual: Indices, predicted: Indices, *, classes: int) -> NDArray[np.int64]:
    """Count pictures by class: int64 [classes, classes], rows actual, columns predicted."""
    counts = np.bincount(actual * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def accuracy(matrix: Matrix) -> Floats:
    """Share of pictures on the diagonal, float64 [...]; NaN for an empty matrix."""
    return _ratio(_hits(matrix).sum(-1), matrix.sum((-2, -1)))


def precision(matrix: Matrix) -> Floats:
    """Right ÷ predicted, float64 [..., classes]; NaN for a class that is never predicted."""
    return _ratio(_hits(matrix), matrix.sum(-2))


def recall(matrix: Matrix) -> Floats:
    """Right ÷ actual, float64 [..., classes]; NaN for a class without pictures."""
    return _ratio(_hits(matrix), matrix.sum(-1))


def f1(matrix: Matrix) -> Floats:
    """2·TP ÷ (actual + predicted), float64 [..., classes]; NaN for a class that is neither."""
    return _ratio(2 * _hits(matrix), matrix.sum(-1) + matrix.sum(-2))


def balanced_accuracy(matrix: Matrix) -> Floats:
    """Mean recall over the classes that have pictures, float64 [...]."""
    return _mean_defined(recall(matrix))


def macro_f1(matrix: Matrix) -> Floats:
    """Mean F1 over the classes that occur, as actual or as predicted, float64 [...]."""
    return _mean_defined(f1(matrix))


def mean_false_positive_rate(matrix: Matrix) -> Floats:
    """Mean over classes of how often a class is answered where it is wrong, float64 [...], in [0, 1].

    Of a class: false positives ÷ pictures of the other classes. Classes without those do not count.
    """
    false = matrix.sum(-2) - _hits(matrix)
    others = matrix.sum((-2, -1))[..., np.newaxis] - matrix.sum(-1)
    return _mean_defined(_ratio(false, others))


def cohen_kappa(matrix: Matrix) -> Floats:
    """Agreement beyond chance, float64 [...], in [-1, 1] (Cohen, 1960).

    NaN where chance alone would always agree: one class only, on both sides.
    """
    total = matrix.sum((-2, -1))
    observed = accuracy(matrix)
    expected = _ratio((matrix.sum(-1) * matrix.sum(-2)).sum(-1), total * total)
    return _ratio(observed - expected, 1 - expected)


def top_k_accuracy(actual: Indices, probabilities: Floats, *, k: int) -> float | None:
    """Share of pictures whose class is among the `k` most probable; the lower index wins a tie.

    Args:
        actual: int64 [n].
        probabilities: float64 [n, classes].
        k: at least 1.
    """
    if not len(actual):
        return None
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((best == actual[:, None]).any(axis=1).mean())


def log_loss(actual: Indices, probabilities: Floats) -> float | None:
    """Mean negative log probability of the actual class, in nats; see `SMALLEST_PROBABILITY`."""
    if not len(actual):
        return None
    given = np.clip(probabilities[np.arange(len(actual)), actual], SMALLEST_PROBABILITY, 1)
    return float(-np.log(given).mean())


def roc_auc(actual: Indices, probabilities: Floats) -> Floats:
    """Area under the ROC curve of each class against the rest, float64 [classes].

    The chance that a picture of the class gets a higher probability than one of the others, ties counting
    half: the Mann–Whitney statistic (Hanley & McNeil, 1982). NaN for a class without pictures, or
    without others. The one-number summary is the mean of the defined ones.
    """
    classes = probabilities.shape[1]
    return np.array(
        [_area(actual == index, probabilities[:, index]) for index in range(classes)], dtype=np.float64
    )


def roc_auc_of(higher: Floats, lower: Floats) -> float:
    """Chance that a value of `higher` [n] exceeds one of `lower` [m], ties counting half; NaN without any."""
    actual = np.repeat([True, False], [len(higher), len(lower)])
    return _area(actual, np.concatenate([higher, lower]))


def roc_curve(actual: NDArray[np.bool_], score: Floats, *, points: int) -> tuple[Floats, Floats]:
    """False and true positive rate over falling thresholds, thinned to at most `points`.

    Args:
        actual: bool [n], True for the class.
        score: float64 [n], its probability.
        points: at least 2; the ends (0, 0) and (1, 1) are always among them.

    Returns:
        Two float64 [m], m ≤ points, rising; two empty ones where the curve is undefined.
    """
    positives, negatives = int(actual.sum()), int((~actual).sum())
    if not positives or not negatives:
        return np.empty(0), np.empty(0)
    order = np.argsort(-score, kind="stable")
    # One point per distinct threshold: pictures of equal score enter together.
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    hits = np.append(0, np.cumsum(actual[order])[last])
    false = np.append(0, last + 1 - hits[1:])
    kept = np.unique(np.linspace(0, len(hits) - 1, points).round().astype(int))
    return false[kept] / negatives, hits[kept] / positives


def _area(actual: NDArray[np.bool_], score: Floats) -> float:
    positives, negatives = int(actual.sum()), int((~actual).sum())
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    # Mean rank of each group of ties, ranks from 1.
    ranks = np.cumsum(counts) - (counts - 1) / 2
    above = ranks[inverse][actual].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def _hits(matrix: Matrix) -> Matrix:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _ratio(numerator: Matrix, denominator: Matrix) -> Floats:
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    result = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def _mean_defined(values: Floats) -> Floats:
    """Mean over the last axis without NaN; NaN where all are."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(-1), defined.sum(-1))
