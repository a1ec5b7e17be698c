"""Reliability bins and expected calibration error, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.metrics import (
    brier_losses,
    calibration_error_of,
    calibration_terms,
    expected_calibration_error,
    reliability,
)
from pipelines.metrics.calibration import BINS


def test_bins_are_open_below_and_closed_above() -> None:
    table = reliability(np.array([1 / BINS, 1 / BINS + 1e-9, 1.0, 0.0]), np.ones(4, dtype=bool))
    assert table.count.tolist() == [2, 1, *[0] * (BINS - 3), 1]


def test_error_is_the_weighted_gap_of_confidence_and_accuracy() -> None:
    # Two bins: confidence 0.9 right in 2 of 4, confidence 0.5 right in 1 of 2.
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.5, 0.5])
    right = np.array([True, True, False, False, True, False])
    table = reliability(confidence, right)
    assert expected_calibration_error(table) == pytest.approx(4 / 6 * 0.4 + 2 / 6 * 0.0)


def test_error_equals_a_plain_loop_over_bins() -> None:
    random = np.random.default_rng(1)
    confidence, right = random.random(500), random.random(500) < 0.6
    expected = 0.0
    for index in range(BINS):
        inside = (confidence > index / BINS) & (confidence <= (index + 1) / BINS)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(reliability(confidence, right)) == pytest.approx(expected)


def test_an_empty_bin_has_no_mean() -> None:
    table = reliability(np.array([0.95]), np.array([True]))
    assert np.isnan(table.accuracy[:-1]).all()
    assert table.accuracy[-1] == 1


def test_no_predictions_have_no_error() -> None:
    assert expected_calibration_error(reliability(np.empty(0), np.empty(0, dtype=bool))) is None


def test_error_of_summed_terms_is_that_of_the_pictures() -> None:
    random = np.random.default_rng(2)
    confidence, right = random.random((2, 300)), random.random((2, 300)) < 0.6
    sums = np.stack([calibration_terms(*one).sum(0) for one in zip(confidence, right, strict=True)])
    expected = [expected_calibration_error(reliability(*one)) for one in zip(confidence, right, strict=True)]
    assert calibration_error_of(sums) == pytest.approx(expected)
    assert np.isnan(calibration_error_of(np.zeros((15, 3))))


def test_brier_losses_by_hand() -> None:
    probabilities = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]])
    losses = brier_losses(np.array([0, 0, 0, 2]), probabilities)
    assert losses == pytest.approx([0, 2, 0.25 + 0.0625 + 0.0625, 2 / 3])
