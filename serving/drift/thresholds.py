"""Thresholds of the drift scores: how far a window is from the reference by chance; a bootstrap over people.

Pictures of one person resemble each other, so a window of 500 pictures holds less information than 500
independent ones, and so does the reference. Both are therefore resampled from the reference's *people*: a
reference of as many people, and a window of visits, each of one person with random pictures of that person
(Davison & Hinkley, 1997, section 3.8). Their distance is the distance of two samples without drift.

Live traffic does not tell who is in a picture, so its clustering is assumed: the mean number of pictures of
one visit is the reference's mean for each person, and the number is geometrically distributed.

Every column has a threshold, and a single column raises the alarm. The thresholds are set together, so that
the share of windows in which *any* column is beyond its threshold stays below `false_alarms` (max-type
correction, Westfall & Young, 1993). Unlike Bonferroni's correction it accounts for correlated columns.

Distances are Evidently's, computed for whole batches of resamples. A resample of n rows is a vector of n
counts: how often each row was drawn. The cost of a distance depends on the number of rows, not on the number
of draws, and thousands are computed in one pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Smallest divisor in Evidently's `_wasserstein_distance_norm`.
_MIN_DEVIATION = 0.001


class Distance(Protocol):
    """Distance between two resamples of one column's rows."""

    def __call__(self, first: Floats, second: Floats) -> Floats:
        """Distance of each pair; arguments are counts [resamples, rows], the result is [resamples]."""


class NormedWasserstein:
    """First Wasserstein distance in standard deviations of the first sample.

    It is the area between the two distribution functions: the mean distance that values moved. Unlike a
    p-value it does not depend on the number of rows.
    """

    def __init__(self, values: Floats) -> None:
        """Create the distance from the rows' values, [rows]."""
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
        return np.asarray(area / np.maximum(np.sqrt(variance), _MIN_DEVIATION), np.float64)


class JensenShannon:
    """Jensen–Shannon distance of the shares of classes: the square root of the divergence, in nats.

    In [0, √ln 2 ≈ 0.83], and finite when a class is missing on one side (Endres & Schindelin, 2003).
    """

    def __init__(self, codes: NDArray[np.intp], classes: int) -> None:
        """Create the distance from the rows' classes, [rows], each in [0, classes)."""
        self._one_hot = np.eye(classes)[codes]

    def __call__(self, first: Floats, second: Floats) -> Floats:
        """See `Distance`."""
        p, q = _shares(first) @ self._one_hot, _shares(second) @ self._one_hot
        middle = (p + q) / 2
        divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
        # Rounding can make the divergence of equal samples slightly negative.
        return np.sqrt(np.maximum(divergence, 0.0))


def _shares(counts: Floats) -> Floats:
    return np.asarray(counts / counts.sum(axis=1, keepdims=True), np.float64)


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return np.asarray((p * np.log(ratio)).sum(axis=1), np.float64)


# With the default share of false alarms 20 of them lie beyond the thresholds.
DRAWS = 4000
_SEED = 20
# Maximum of rows × resamples in memory at once: 32 MiB of doubles.
_CELLS = 1 << 22
# Columns are scaled by this quantile of their null distribution before the largest is taken.
_SCALE_QUANTILE = 0.95


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Assumptions about a window."""

    rows: int
    """Number of pictures."""
    per_person: float
    """Mean number of pictures of one visit; at least 1."""


def thresholds(
    distances: Mapping[str, Distance],
    people: NDArray[np.intp],
    traffic: Traffic,
    *,
    false_alarms: float,
    draws: int = DRAWS,
) -> dict[str, float]:
    """Compute the threshold of each column.

    Args:
        distances: distance of each column, over the reference's rows.
        people: person of each of the reference's rows, [rows], numbered from 0 without gaps.
        traffic: assumptions about the window.
        false_alarms: share of windows without drift in which a column may exceed its threshold, in (0, 1).
        draws: number of bootstrap samples.
    """
    scores = null_scores(distances, people, traffic, draws=draws)
    return dict(zip(distances, simultaneous_quantiles(scores, 1 - false_alarms).tolist(), strict=True))


def simultaneous_quantiles(scores: Floats, level: float) -> Floats:
    """Return a bound for each column so that in a share of `level` of the rows no column exceeds its bound.

    Args:
        scores: [draws, columns], not negative.
        level: in (0, 1).
    """
    scale = np.quantile(scores, _SCALE_QUANTILE, axis=0)
    # A column that never moves never exceeds 0.
    relative = np.divide(scores, scale, out=np.zeros_like(scores), where=scale > 0)
    return np.asarray(scale * np.quantile(relative.max(axis=1), level), np.float64)


def null_scores(
    distances: Mapping[str, Distance], people: NDArray[np.intp], traffic: Traffic, *, draws: int
) -> Floats:
    """Return distances of windows without drift, [draws, columns]; deterministic."""
    rng = np.random.default_rng(_SEED)
    drawn = _People(people)
    at_once = max(1, _CELLS // max(len(people), traffic.rows))
    parts = []
    for start in range(0, draws, at_once):
        count = min(at_once, draws - start)
        reference, window = drawn.references(rng, count), drawn.windows(rng, count, traffic)
        parts.append([distance(reference, window) for distance in distances.values()])
    return np.concatenate([np.stack(part, axis=1) for part in parts])


class _People:
    """The reference's rows grouped by person, for resampling."""

    def __init__(self, people: NDArray[np.intp]) -> None:
        self._people = people
        self._sizes = np.bincount(people)
        self._rows = np.argsort(people, kind="stable")
        self._starts = np.cumsum(self._sizes) - self._sizes

    def references(self, rng: np.random.Generator, count: int) -> Floats:
        """Draw references of as many people, each with all their rows: counts [count, rows]."""
        number = len(self._sizes)
        chosen = rng.multinomial(number, np.full(number, 1 / number), size=count)
        return chosen[:, self._people].astype(np.float64)

    def windows(self, rng: np.random.Generator, count: int, traffic: Traffic) -> Floats:
        """Draw windows of visits by random people: counts [count, rows], each summing to `traffic.rows`."""
        # Each picture begins another visit with the same probability: visits of geometric lengths.
        begins = rng.random((count, traffic.rows)) * traffic.per_person < 1
        begins[:, 0] = True
        visitors = rng.integers(len(self._sizes), size=(count, traffic.rows))
        person = np.take_along_axis(visitors, np.cumsum(begins, axis=1) - 1, axis=1)
        within = (rng.random((count, traffic.rows)) * self._sizes[person]).astype(np.intp)
        rows = self._rows[self._starts[person] + within]
        flat = rows + np.arange(count)[:, np.newaxis] * len(self._people)
        counts = np.bincount(flat.ravel(), minlength=count * len(self._people))
        return counts.reshape(count, len(self._people)).astype(np.float64)
