"""How far a window may be from the reference by chance: a bootstrap over people.

Pictures of one person resemble each other, so a window of 500 pictures says less than 500 independent ones
would, and so does the reference. Both are therefore drawn anew from the reference's *people*: a reference of
as many people, and a window of visits, each of one person with pictures of their own drawn at random
(Davison & Hinkley, 1997, section 3.8). How far apart those two are is how far apart two samples of one and
the same world are.

Live traffic does not say who is on a picture, so how it clusters is assumed: a visit has as many pictures as
the reference has of a person on average, most of them fewer, some far more (geometric).

Every column gets a threshold, and any one of them raises the alarm: they are set together, so that the
share of windows in which *any* column is beyond its own stays below `false_alarms` (max-type correction,
Westfall & Young, 1993). Unlike Bonferroni's it knows that the columns move together.

How far apart two samples of one column are, as Evidently measures it, for whole batches of resamples.

A resample of n rows is a vector of n counts: how often each row was drawn. The distance of two resamples
then costs as much as there are rows, however many were drawn, and thousands are measured in one pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Evidently's `_wasserstein_distance_norm` divides by no less.
_MIN_DEVIATION = 0.001


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
        return np.asarray(area / np.maximum(np.sqrt(variance), _MIN_DEVIATION), np.float64)


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


# 20 of them lie beyond the default share of false alarms.
DRAWS = 4000
_SEED = 20
# Rows × resamples that are held at once: 32 MiB of doubles.
_CELLS = 1 << 22
# By this quantile of their own null distribution columns are made comparable before the greatest is taken.
_SCALE_QUANTILE = 0.95


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What is assumed of a window."""

    rows: int
    """Pictures in it."""
    per_person: float
    """Pictures of one visit, on average; at least 1."""


def thresholds(
    distances: Mapping[str, Distance],
    people: NDArray[np.intp],
    traffic: Traffic,
    *,
    false_alarms: float,
    draws: int = DRAWS,
) -> dict[str, float]:
    """The threshold of each column.

    Args:
        distances: of each column, over the reference's rows.
        people: who is on each of the reference's rows, [rows], numbered from 0 without gaps.
        traffic: the window's.
        false_alarms: share of windows without drift in which some column may be beyond its own, in (0, 1).
        draws: bootstrap samples.
    """
    scores = null_scores(distances, people, traffic, draws=draws)
    return dict(zip(distances, simultaneous_quantiles(scores, 1 - false_alarms).tolist(), strict=True))


def simultaneous_quantiles(scores: Floats, level: float) -> Floats:
    """A bound for each column, such that in a share of `level` of the rows no column is beyond its own.

    Args:
        scores: [draws, columns], not negative.
        level: in (0, 1).
    """
    scale = np.quantile(scores, _SCALE_QUANTILE, axis=0)
    # A column that never moves is never beyond 0, whatever the others do.
    relative = np.divide(scores, scale, out=np.zeros_like(scores), where=scale > 0)
    return np.asarray(scale * np.quantile(relative.max(axis=1), level), np.float64)


def null_scores(
    distances: Mapping[str, Distance], people: NDArray[np.intp], traffic: Traffic, *, draws: int
) -> Floats:
    """Distances of windows without drift, [draws, columns]; the same at every call."""
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
    """The reference's rows by person, to be drawn from."""

    def __init__(self, people: NDArray[np.intp]) -> None:
        self._people = people
        self._sizes = np.bincount(people)
        self._rows = np.argsort(people, kind="stable")
        self._starts = np.cumsum(self._sizes) - self._sizes

    def references(self, rng: np.random.Generator, count: int) -> Floats:
        """As many people as there are, each with all of their rows: counts [count, rows]."""
        number = len(self._sizes)
        chosen = rng.multinomial(number, np.full(number, 1 / number), size=count)
        return chosen[:, self._people].astype(np.float64)

    def windows(self, rng: np.random.Generator, count: int, traffic: Traffic) -> Floats:
        """Visits of people drawn at random: counts [count, rows], each summing to the window's rows."""
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
