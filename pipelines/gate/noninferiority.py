"""Whether a candidate is worse than production by less than a margin, by more, or whether that is unclear.

Each metric has a margin δ, the drop that is allowed, and two one-sided tests at the level 0.025 (`LEVEL`):

* not worse: the upper end of the drop's 95 % interval is below δ. The candidate passes if this holds for
  *every* metric. Such an intersection of tests needs no correction: each of them must reject (Berger, 1982).
* worse: the drop is larger than δ. One such metric is enough to reject the candidate, so that with many
  metrics one would be found by chance; Holm's correction (1979) keeps the chance of a false one at the level.

If neither holds, the test pictures are too few to say; `Drop.smallest` is what they could have shown. See
docs/decisions/0020-non-inferiority-gate.md; `python -m benchmarks.gate_power` measures both errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipelines.gate.estimates import LEVEL, Measured, exact_distance
from pipelines.metrics.classification import Indices

Outcome = Literal["not worse", "worse", "unclear"]


@dataclass(frozen=True, kw_only=True)
class Drop:
    """How far a metric of the candidate is below production's, and its test against a margin."""

    value: float
    """Negative if the candidate is better."""
    low: float
    """End of the 95 % interval, as `high`; not corrected for the number of metrics."""
    high: float
    p_worse: float
    """p-value of "larger than the margin", after Holm's correction."""
    smallest: float
    """Smallest observed drop that would be judged worse, even if no other metric is."""
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """On how many pictures only one of two models is right; McNemar's exact test (1947)."""

    candidate: int
    """Only the candidate is right."""
    production: int
    p: float
    """Two-sided; takes all pictures for independent, also those of one person."""


def drops(measured: Mapping[str, Measured], margins: Mapping[str, float]) -> dict[str, Drop]:
    """Test the drop of every metric that has a margin.

    Args:
        measured: metrics of candidate and production, by name.
        margins: allowed drop by name; the names are those of the family that Holm's correction covers.

    Returns:
        Drops by name, without metrics that are undefined for one of the models.
    """
    known = {name: margin for name, margin in margins.items() if not math.isnan(measured[name].drop_value)}
    p_values = holm([_p_worse(measured[name], margin) for name, margin in known.items()])
    return {
        name: _drop(measured[name], margin, p_worse=p_worse, tests=len(known))
        for (name, margin), p_worse in zip(known.items(), p_values, strict=True)
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number: reject those that are at most the level (Holm, 1979).

    Args:
        p_values: in any order.

    Returns:
        Adjusted p-values in the same order, at most 1.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for position, index in enumerate(order):
        largest = max(largest, (len(p_values) - position) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


def mcnemar(actual: Indices, candidate: Indices, production: Indices) -> McNemar:
    """Compare two models' answers to the same pictures.

    Args:
        actual: int64 [n], class of each picture.
        candidate: int64 [n], predicted by the candidate.
        production: int64 [n], predicted by production.
    """
    ours, theirs = candidate == actual, production == actual
    better, worse = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    total = better + worse
    tail = sum(_binomial(total, count) for count in range(min(better, worse) + 1))
    return McNemar(candidate=better, production=worse, p=min(1.0, 2 * tail))


def _binomial(total: int, count: int) -> float:
    """Probability of `count` heads in `total` throws of a fair coin."""
    ways = math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)
    return math.exp(ways - total * math.log(2))


def _p_worse(measured: Measured, margin: float) -> float:
    """p-value of a drop larger than the margin, from the same bounds as the interval's lower end.

    The share of resamples at or below the margin, counting the test pictures themselves (Davison & Hinkley,
    1997, section 4.2), and at least the level at which `exact_distance` reaches the margin.
    """
    excess = measured.drop_value - margin
    if excess <= 0:
        return 1.0
    values = measured.resampled_drops[~np.isnan(measured.resampled_drops)]
    share = (1 + int((values <= margin).sum())) / (1 + len(values))
    return float(max(share, max(0.0, 1.0 - excess) ** measured.people))


def _drop(measured: Measured, margin: float, *, p_worse: float, tests: int) -> Drop:
    estimate = measured.drop
    level = LEVEL / tests
    low = float(np.nanquantile(measured.resampled_drops, level))
    spread = max(estimate.value - low, exact_distance(measured.people, level))
    outcome: Outcome = "unclear"
    if estimate.high < margin:
        outcome = "not worse"
    elif p_worse <= LEVEL:
        outcome = "worse"
    return Drop(
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        p_worse=p_worse,
        smallest=margin + spread,
        outcome=outcome,
    )
