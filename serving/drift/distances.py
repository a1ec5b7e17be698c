"""How far apart two samples of one column are, as Evidently measures it, for whole batches of resamples.

A resample of n rows is a vector of n counts: how often each row was drawn. The distance of two resamples
then costs as much as there are rows, however many were drawn, and thousands are measured in one pass.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Evidently's `_wasserstein_distance_norm` divides by no less.
_LEAST_DEVIATION = 0.001


class Distance(Protocol):
    """Between two resamples of one column's rows."""

    def __call__(self, first: Floats, second: Floats) -> Floats:
        """Distance of each pair; arguments are counts [resamples, rows], the result is [resamples]."""


class NormedWasserstein:
    """First Wasserstein distance in standard deviations of the first sample.

    The area between the two distribution functions: how far values moved, on average. Unlike a p-value it
    does not grow with the number of rows.
    """

    def __init__(self, values: Floats) -> None:
        """Take the rows' values, [rows]."""
        self._order = np.argsort(values, kind="stable")
        self._values = values[self._order]
        self._gaps = np.diff(self._values)

    def __call__(self, first: Floats, second: Floats) -> Floats:
        """See `Distance`."""
        a, b = _shares(first)[:, self._order], _shares(second)[:, self._order]
        below = np.cumsum(a - b, axis=1)[:, :-1]
        area = np.abs(below) @ self._gaps
        mean = a @ self._values
        # Around the mean, not as a difference of squares: values far from zero would cancel.
        variance = np.einsum("ij,ij->i", a, (self._values - mean[:, np.newaxis]) ** 2)
        return np.asarray(area / np.maximum(np.sqrt(variance), _LEAST_DEVIATION), np.float64)


class JensenShannon:
    """Jensen–Shannon distance of the shares of classes: the root of the divergence, in nats.

    In [0, √ln 2 ≈ 0.83], and finite when a class is missing on one side (Endres & Schindelin, 2003).
    """

    def __init__(self, codes: NDArray[np.intp], classes: int) -> None:
        """Take the rows' classes, [rows], each in [0, classes)."""
        self._one_hot = np.eye(classes)[codes]

    def __call__(self, first: Floats, second: Floats) -> Floats:
        """See `Distance`."""
        p, q = _shares(first) @ self._one_hot, _shares(second) @ self._one_hot
        middle = (p + q) / 2
        divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
        # Rounding can take equal samples a hair below zero.
        return np.sqrt(np.maximum(divergence, 0.0))


def _shares(counts: Floats) -> Floats:
    return np.asarray(counts / counts.sum(axis=1, keepdims=True), np.float64)


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return np.asarray((p * np.log(ratio)).sum(axis=1), np.float64)
