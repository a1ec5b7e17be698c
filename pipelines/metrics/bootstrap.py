"""Intervals by resampling groups: the pictures of one person are not independent of each other.

The cluster bootstrap draws whole groups with replacement (Davison & Hinkley, 1997, "Bootstrap Methods and
their Application", section 3.8; Field & Welsh, 2007, "Bootstrapping clustered data") and takes
the 2.5 % and 97.5 % quantiles of the statistic over the resamples. Where each picture is its own group
this is the ordinary bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from pipelines.metrics.classification import Indices, Matrix

Statistic = Callable[[Matrix], NDArray[np.float64]]
"""Confusion matrices [n, classes, classes] → values [n], such as `accuracy`."""

# Resamples drawn at a time: 64 × 10,000 groups × 8 bytes stays in a processor's cache and far from any limit.
_BLOCK = 64
# Six decimals: far below any metric's own uncertainty, far above what another processor's
# rounding changes, so that two machines write the same file.
DECIMALS = 6


def rounded(value: SupportsFloat | None, decimals: int = DECIMALS) -> float | None:
    """`value` with `decimals` places; None for None and NaN."""
    if value is None or math.isnan(number := float(value)):
        return None
    return round(number, decimals)


@dataclass(frozen=True, kw_only=True)
class IntervalEstimate:
    """A value with its 95 % interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


def group_confusions(
    actual: Indices, predicted: Indices, *, groups: NDArray[Any], classes: int
) -> NDArray[np.float64]:
    """One confusion matrix per group: float64 [groups, classes, classes].

    Every metric of a confusion matrix can be resampled from these sums alone, never touching a picture again.
    """
    names, index = np.unique(groups, return_inverse=True)
    cell = (index * classes + actual) * classes + predicted
    counts = np.bincount(cell, minlength=len(names) * classes * classes)
    return counts.reshape(len(names), classes, classes).astype(np.float64)


def group_sums(values: NDArray[np.float64], groups: NDArray[Any]) -> NDArray[np.float64]:
    """Sum values over the pictures of each group: float64 [groups, ...].

    Args:
        values: float64 [n, ...], whose sums a statistic is computed from.
        groups: [n], person or other group of each picture.
    """
    names, index = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, index, values)
    return sums


def resampled(sums: NDArray[np.float64], *, samples: int, seed: int) -> NDArray[np.float64]:
    """Sums over groups drawn with replacement: float64 [samples, ...].

    All other axes share the same resamples, so that two models side by side are compared in pairs.

    Args:
        sums: float64 [groups, ...], from `group_sums` or `group_confusions`.
        samples: number of resamples.
        seed: the same seed draws the same groups.
    """
    groups = len(sums)
    random = np.random.default_rng(seed)
    flat = sums.reshape(groups, -1)
    drawn = np.concatenate([_weights(random, groups, count) @ flat for count in _blocks(samples)])
    return drawn.reshape(samples, *sums.shape[1:])


def resampled_means(
    values: NDArray[np.float64], groups: NDArray[Any], *, samples: int, seed: int
) -> NDArray[np.float64]:
    """Means over the pictures of groups drawn with replacement: float64 [samples, columns].

    Args:
        values: float64 or bool [n, columns], of n pictures.
        groups: [n], person or other group of each picture.
        samples: number of resamples.
        seed: the same seed draws the same groups.
    """
    sums = group_sums(np.column_stack([values, np.ones(len(values))]), groups)
    drawn = resampled(sums, samples=samples, seed=seed)
    return np.asarray(drawn[:, :-1] / drawn[:, -1:], np.float64)


def interval_estimate(
    value: SupportsFloat, drawn: NDArray[np.float64] | None, *, decimals: int = DECIMALS
) -> IntervalEstimate:
    """A value with the central 95 % of its resamples.

    Args:
        value: on all pictures.
        drawn: float64 [samples], on each resample, NaN where it is undefined; None without resamples, as with
            fewer than two groups, which say nothing about spread.
        decimals: places that are kept.
    """
    low, high = (None, None) if drawn is None or np.isnan(drawn).all() else _central(drawn)
    return IntervalEstimate(
        value=rounded(value, decimals), low=rounded(low, decimals), high=rounded(high, decimals)
    )


def intervals(
    confusions: NDArray[np.float64],
    statistics: Mapping[str, Statistic],
    *,
    samples: int,
    seed: int,
) -> dict[str, tuple[float, float] | None]:
    """The 95 % interval of each statistic, all over the same resamples.

    Args:
        confusions: float64 [groups, classes, classes], from `group_confusions`.
        statistics: name → function of a confusion matrix.
        samples: number of resamples.
        seed: the same seed draws the same groups.

    Returns:
        Name → lower and upper bound; None with fewer than two groups, which say nothing about spread.
    """
    if len(confusions) < 2:
        return dict.fromkeys(statistics)
    matrices = resampled(confusions, samples=samples, seed=seed)
    return {name: _central(statistic(matrices)) for name, statistic in statistics.items()}


def _central(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.nanquantile(values, (0.025, 0.975))
    return float(low), float(high)


def _weights(random: np.random.Generator, groups: int, count: int) -> NDArray[np.float64]:
    """How often each group is drawn: float64 [count, groups], rows sum to `groups`."""
    drawn = random.integers(groups, size=(count, groups))
    drawn += np.arange(count)[:, None] * groups
    return np.bincount(drawn.ravel(), minlength=count * groups).reshape(count, groups).astype(np.float64)


def _blocks(samples: int) -> list[int]:
    full, rest = divmod(samples, _BLOCK)
    return [_BLOCK] * full + ([rest] if rest else [])
