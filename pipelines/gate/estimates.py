"""Metrics of one or two models on the test pictures, with 95 % intervals by resampling people.

People are drawn with replacement (`pipelines.metrics.bootstrap`). Both models answer the same pictures and
share each resample, so that the interval of a drop leaves out what is hard for both.

A bootstrap knows only differences that it has seen: eight people for whom two models agree give the interval
[0, 0]. Therefore no end of an interval is closer to the estimate than `exact_distance`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines import metrics
from pipelines.core.params import GateParams
from pipelines.metrics.classification import Floats, Indices
from pipelines.metrics.slices import Mask
from pipelines.metrics.summary import METRICS

LEVEL = 0.025
"""Error of each end of a 95 % interval; ICH E9, 1998, section 3.3.2, tests non-inferiority with it."""
_SEED = 0
"""Fixed, so that equal answers have equal intervals and another seed does not change a verdict."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval; all three are NaN if it is undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The n test pictures."""

    classes: tuple[str, ...]
    """In the order of the candidate's outputs."""
    actual: Indices
    """int64 [n]."""
    groups: NDArray[Any]
    """[n], person or other group of each picture."""
    slices: Mapping[str, Mask]
    """Parts that are judged, by name: bool [n]."""

    @property
    def people(self) -> int:
        """Number of groups."""
        return len(np.unique(self.groups))

    def indices(self, predicted: Sequence[str]) -> Indices:
        """Convert predicted class names to int64 [n]."""
        index = {name: position for position, name in enumerate(self.classes)}
        return np.array([index[name] for name in predicted], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One metric of m models: on the test pictures and on each resample of them."""

    values: Floats
    """float64 [m], the candidate first; NaN if undefined."""
    resampled: Floats
    """float64 [samples, m]."""
    people: int
    """Number of people with pictures that the metric uses."""
    highest: float = 1.0
    """Largest possible value; the smallest one is 0."""

    @property
    def estimate(self) -> Estimate:
        """The candidate's value."""
        found = _estimate(float(self.values[0]), self.resampled[:, 0], people=self.people)
        return Estimate(value=found.value, low=max(found.low, 0.0), high=min(found.high, self.highest))

    @property
    def drop(self) -> Estimate:
        """Production's value minus the candidate's; needs two models."""
        return _estimate(self.drop_value, self.resampled_drops, people=self.people)

    @property
    def drop_value(self) -> float:
        """The drop on the test pictures."""
        return float(self.values[1] - self.values[0])

    @property
    def resampled_drops(self) -> Floats:
        """The drop on each resample, float64 [samples]."""
        return np.asarray(self.resampled[:, 1] - self.resampled[:, 0], dtype=np.float64)


def exact_distance(people: int, level: float = LEVEL) -> float:
    """Upper bound of a share that is 0 for n people: 1 − level^(1/n) (Clopper & Pearson, 1934).

    About 3.7 / n at the level 0.025, the "rule of three" (Hanley & Lippman-Hand, 1983) for 95 % intervals.
    """
    return 1.0 - float(level ** (1.0 / people))


def measure(pictures: Pictures, predicted: Sequence[Indices], *, samples: int) -> dict[str, Measured]:
    """Measure the metrics of the gate that follow from predicted classes.

    Args:
        pictures: the test pictures.
        predicted: int64 [n] of each of m models, the candidate first.
        samples: number of resamples.

    Returns:
        Metrics by name: `accuracy` and others that `gate` has thresholds for, `class_recall.CLASS`,
        `slice_accuracy.SLICE`.
    """
    confusions = np.stack(
        [
            metrics.group_confusions(
                pictures.actual, one, groups=pictures.groups, classes=len(pictures.classes)
            )
            for one in predicted
        ],
        axis=1,
    )
    whole = confusions.sum(0)
    resamples = metrics.resampled(confusions, samples=samples, seed=_SEED)
    found = {
        name: Measured(
            values=metric.statistic(whole), resampled=metric.statistic(resamples), people=len(confusions)
        )
        for name, metric in METRICS.items()
        if metric.statistic and f"min_{name}" in GateParams.model_fields
    }
    values, resampled = metrics.recall(whole), metrics.recall(resamples)
    people = (confusions[:, 0].sum(-1) > 0).sum(0)
    for index, label in enumerate(pictures.classes):
        found[f"class_recall.{label}"] = Measured(
            values=values[:, index], resampled=resampled[..., index], people=int(people[index])
        )
    return found | dict(_slices(pictures, predicted, samples=samples))


def measure_calibration(pictures: Pictures, probabilities: Floats, *, samples: int) -> dict[str, Measured]:
    """Measure the candidate's expected calibration error, `ece`, and its Brier score, `brier`.

    The bins of a resample are noisier than those of the test pictures, so that its calibration error is
    larger on average. The resampled values are moved by this bias (Efron & Tibshirani, 1993, chapter 10).

    Args:
        pictures: the test pictures.
        probabilities: float64 [n, classes].
        samples: number of resamples.

    Returns:
        Metrics by name; undefined if a probability is not finite.
    """
    if not np.isfinite(probabilities).all():
        nothing = np.full((samples, 1), np.nan)
        undefined = Measured(values=nothing[0], resampled=nothing, people=pictures.people)
        return {"ece": undefined, "brier": undefined}
    right = probabilities.argmax(1) == pictures.actual
    terms = metrics.calibration_terms(probabilities.max(1), right)
    losses = metrics.brier_losses(pictures.actual, probabilities)
    bins = metrics.group_sums(terms, pictures.groups)
    sums = metrics.group_sums(np.stack([losses, np.ones_like(losses)], axis=1), pictures.groups)
    error = float(metrics.calibration_error_of(terms.sum(0)))
    errors = metrics.calibration_error_of(metrics.resampled(bins, samples=samples, seed=_SEED))
    drawn = metrics.resampled(sums, samples=samples, seed=_SEED)
    return {
        "ece": Measured(
            values=np.array([error]),
            resampled=(errors - (errors.mean() - error))[:, None],
            people=pictures.people,
        ),
        "brier": Measured(
            values=np.array([losses.mean()]),
            resampled=(drawn[:, 0] / drawn[:, 1])[:, None],
            people=pictures.people,
            highest=2.0,
        ),
    }


def measure_shares(shares: Floats, groups: NDArray[Any], *, samples: int) -> Measured:
    """Measure the mean of a share that each picture has, such as 1 for a right answer and 0 for a wrong one.

    Args:
        shares: float64 or bool [n, m], in [0, 1], of n pictures and m models, the candidate first.
        groups: [n], person or other group of each picture.
        samples: number of resamples.
    """
    drawn = metrics.resampled_means(shares, groups, samples=samples, seed=_SEED)
    return Measured(values=shares.mean(0), resampled=drawn, people=len(np.unique(groups)))


def _slices(
    pictures: Pictures, predicted: Sequence[Indices], *, samples: int
) -> Iterator[tuple[str, Measured]]:
    """Measure the accuracy in each slice."""
    for name, mask in pictures.slices.items():
        right = np.stack([one[mask] == pictures.actual[mask] for one in predicted], axis=1)
        yield f"slice_accuracy.{name}", measure_shares(right, pictures.groups[mask], samples=samples)


def _estimate(value: float, resampled: Floats, *, people: int) -> Estimate:
    """Value with the central 95 % of its resamples, at least `exact_distance` to both sides."""
    if np.isnan(value):
        return Estimate(value=value, low=value, high=value)
    low, high = np.nanquantile(resampled, (LEVEL, 1 - LEVEL))
    distance = exact_distance(people)
    return Estimate(
        value=value, low=min(float(low), value - distance), high=max(float(high), value + distance)
    )
