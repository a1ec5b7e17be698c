"""Metrics by attribute of people or pictures (skin, glasses, …), and the largest gap between groups.

The measures are those of group fairness: accuracy, recall (the mean over classes: equal opportunity, Hardt
et al., 2016) and false-positive rate (with recall: equalised odds). The intervals are those of all metrics:
people are resampled, all groups in the same resamples, so a gap's interval is that of a paired difference. A
largest gap is never negative, so its interval may not hold 0 even where no group is worse off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.metrics.bootstrap import IntervalEstimate, Statistic, interval_estimate, resampled
from pipelines.metrics.classification import accuracy, balanced_accuracy, mean_false_positive_rate
from pipelines.metrics.summary import Answers


@dataclass(frozen=True, kw_only=True)
class GroupScores:
    """Metrics of the test pictures with one value of an attribute."""

    images: int
    people: int
    accuracy: IntervalEstimate
    recall: IntervalEstimate
    """Mean over the classes that the group has."""
    false_positive_rate: IntervalEstimate
    """Mean over the classes: how often a class is answered where it is wrong."""


@dataclass(frozen=True, kw_only=True)
class AttributeScores:
    """Metrics by the values of one attribute."""

    groups: Mapping[str, GroupScores]
    """By value; only values with enough pictures."""
    left_out: Mapping[str, int]
    """Number of pictures of the values with too few."""
    gaps: Mapping[str, IntervalEstimate]
    """Largest difference between two groups, by metric; empty with fewer than two groups."""


MEASURES: Mapping[str, Statistic] = {
    "accuracy": accuracy,
    "recall": balanced_accuracy,
    "false_positive_rate": mean_false_positive_rate,
}
"""What is computed for each group, by the name of its field in `GroupScores`."""


def measures_of(scores: GroupScores) -> tuple[IntervalEstimate, ...]:
    """The estimates of a group in the order of `MEASURES`."""
    return tuple(getattr(scores, name) for name in MEASURES)


def gaps_of(scores: AttributeScores) -> tuple[IntervalEstimate, ...]:
    """The gaps between an attribute's groups in the order of `MEASURES`; a file sorts them by name."""
    return tuple(scores.gaps[name] for name in MEASURES)


def by_attribute(
    answers: Answers,
    people: NDArray[Any],
    values: Sequence[str],
    *,
    min_images: int,
    samples: int,
    seed: int,
) -> AttributeScores:
    """Compute the metrics of one attribute.

    Args:
        answers: to n pictures.
        people: [n], person or other group of each picture: what is resampled.
        values: n values of the attribute; empty where it is unknown.
        min_images: values with fewer pictures are left out.
        samples: bootstrap resamples.
        seed: of the bootstrap.
    """
    column = np.asarray(values)
    counts = {str(value): int((column == value).sum()) for value in sorted(set(values) - {""})}
    kept = [value for value, count in counts.items() if count >= min_images]
    masks = {value: column == value for value in kept}
    left_out = {value: count for value, count in counts.items() if count < min_images}
    if not kept:
        return AttributeScores(groups={}, left_out=left_out, gaps={})
    names, index = np.unique(people, return_inverse=True)
    stacked = np.stack([_confusions(answers, index, mask) for mask in masks.values()], axis=1)
    measured = {name: measure(stacked.sum(0)) for name, measure in MEASURES.items()}
    drawn: dict[str, NDArray[np.float64]] | None = None
    if len(names) > 1:
        matrices = resampled(stacked, samples=samples, seed=seed)
        drawn = {name: measure(matrices) for name, measure in MEASURES.items()}
    groups = {
        value: GroupScores(
            images=counts[value],
            people=len(np.unique(index[masks[value]])),
            **{
                name: interval_estimate(
                    measured[name][position], None if drawn is None else drawn[name][:, position]
                )
                for name in MEASURES
            },
        )
        for position, value in enumerate(kept)
    }
    gaps = {
        name: interval_estimate(_gap(measured[name]), None if drawn is None else _gap(drawn[name]))
        for name in MEASURES
    }
    return AttributeScores(groups=groups, left_out=left_out, gaps=gaps if len(kept) > 1 else {})


def _confusions(answers: Answers, people: NDArray[np.intp], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A confusion matrix for each person, of the pictures in the mask: float64 [people, classes, classes]."""
    classes = len(answers.classes)
    cell = (people * classes + answers.actual) * classes + answers.predicted
    counts = np.bincount(cell, weights=mask, minlength=(people.max() + 1) * classes * classes)
    return counts.reshape(-1, classes, classes).astype(np.float64)


def _gap(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest difference along the last axis."""
    return np.asarray(np.nanmax(values, axis=-1) - np.nanmin(values, axis=-1), np.float64)
