"""Scores of a model's answers to corrupted pictures, with 95 % intervals by resampling people.

Hendrycks & Dietterich, 2019, divide the error under each corruption by AlexNet's before they take the mean.
Faces have no common model of that kind, and the errors here are not divided: the *mean corruption error* over
corruptions and severities, and the *extra error*, by which it exceeds the error on the same pictures as
they are (their relative mCE).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines import metrics
from pipelines.metrics import IntervalEstimate, interval_estimate
from pipelines.metrics.classification import Floats, Indices
from pipelines.robustness.corruptions import CORRUPTIONS, SEVERITIES
from pipelines.robustness.record import Scores, WorstCase


def score(
    actual: Indices, clean: Floats, corrupted: Floats, groups: NDArray[Any], *, samples: int, seed: int
) -> Scores:
    """Score the answers to n pictures and their corrupted versions.

    Args:
        actual: int64 [n], class of each picture.
        clean: probabilities for the pictures as they are, float64 [n, classes].
        corrupted: float64 [n, corruptions, severities, classes].
        groups: [n], person or other group of each picture.
        samples: bootstrap resamples.
        seed: of the bootstrap.
    """
    right = corrupted.argmax(-1) == actual[:, None, None]
    clean_right = clean.argmax(-1) == actual
    shares = np.column_stack([clean_right, right.mean(axis=(1, 2)), right.reshape(len(right), -1)])
    values = shares.mean(0)
    people = len(np.unique(groups))
    drawn = metrics.resampled_means(shares, groups, samples=samples, seed=seed) if people > 1 else None
    cells = [interval_estimate(values[2 + cell], _column(drawn, 2 + cell)) for cell in range(right[0].size)]
    by_name = {
        name: tuple(cells[index * len(SEVERITIES) : (index + 1) * len(SEVERITIES)])
        for index, name in enumerate(CORRUPTIONS)
    }
    error = 1 - values[1]
    return Scores(
        images=len(actual),
        people=people,
        clean_accuracy=interval_estimate(values[0], _column(drawn, 0)),
        corrupted_accuracy=interval_estimate(values[1], _column(drawn, 1)),
        mean_corruption_error=interval_estimate(error, None if drawn is None else 1 - drawn[:, 1]),
        extra_error=interval_estimate(
            values[0] - values[1], None if drawn is None else drawn[:, 0] - drawn[:, 1]
        ),
        worst=_worst(by_name),
        clean_ece=_calibration(clean[:, None], clean_right[:, None], groups, samples=samples, seed=seed),
        corrupted_ece=_calibration(
            corrupted.reshape(len(corrupted), -1, corrupted.shape[-1]),
            right.reshape(len(right), -1),
            groups,
            samples=samples,
            seed=seed,
        ),
        corruptions=by_name,
        right=tuple(int(count) for count in right.sum(axis=(1, 2))),
    )


def _worst(corruptions: Mapping[str, tuple[IntervalEstimate, ...]]) -> WorstCase:
    """The case with the lowest accuracy; of equal ones the first."""
    cases = [
        WorstCase(corruption=name, severity=severity, accuracy=accuracy)
        for name, accuracies in corruptions.items()
        for severity, accuracy in zip(SEVERITIES, accuracies, strict=True)
    ]
    return min(cases, key=lambda case: case.accuracy.value or 0.0)


def _calibration(
    probabilities: Floats, right: NDArray[np.bool_], groups: NDArray[Any], *, samples: int, seed: int
) -> IntervalEstimate:
    """Expected calibration error of [n, versions, classes]; the gate corrects the interval in the same way.

    The bins of a resample are noisier than those of the pictures, so that its error is larger on average; the
    resampled values are moved by this bias (Efron & Tibshirani, 1993, chapter 10).
    """
    count, versions = right.shape
    terms = metrics.calibration_terms(probabilities.max(-1).ravel(), right.ravel())
    by_picture = terms.reshape(count, versions, *terms.shape[1:]).sum(1)
    error = float(metrics.calibration_error_of(by_picture.sum(0)))
    sums = metrics.group_sums(by_picture, groups)
    if len(sums) < 2:
        return interval_estimate(error, None)
    errors = metrics.calibration_error_of(metrics.resampled(sums, samples=samples, seed=seed))
    return interval_estimate(error, np.clip(errors - (errors.mean() - error), 0.0, 1.0))


def _column(drawn: Floats | None, index: int) -> Floats | None:
    return None if drawn is None else drawn[:, index]
