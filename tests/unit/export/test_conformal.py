"""Thresholds of prediction sets, counted by hand and on synthetic draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from pipelines.export.conformal import covered, fit_sets, fit_threshold, set_members


def rows(*own: float) -> tuple[np.ndarray, np.ndarray]:
    """Two classes; the true one is class 1 and has these probabilities."""
    values = np.array(own)
    return np.stack([1 - values, values], axis=1), np.ones(len(values), np.int64)


@pytest.mark.parametrize(
    ("coverage", "expected"),
    # Nine pictures: rank ⌈10 · coverage⌉ of the probabilities from the largest down.
    [(0.9, 0.1), (0.89, 0.1), (0.8, 0.2), (0.5, 0.5), (0.1, 0.9), (0.91, 0.0), (0.99, 0.0)],
)
def test_threshold_is_the_quantile_with_its_correction(coverage: float, expected: float) -> None:
    probabilities, labels = rows(0.3, 0.9, 0.1, 0.5, 0.7, 0.2, 0.8, 0.4, 0.6)
    assert fit_threshold(probabilities, labels, coverage=coverage) == pytest.approx(expected, abs=1e-9)


def test_threshold_agrees_with_numpys_higher_quantile_of_the_scores() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 2, 3, 1], 200)
    labels = rng.integers(0, 4, 200)
    scores = 1 - probabilities[np.arange(200), labels]
    level = np.ceil(201 * 0.9) / 200
    expected = 1 - np.quantile(scores, level, method="inverted_cdf")
    found = fit_threshold(probabilities, labels, coverage=0.9)
    assert expected - 1e-6 <= found <= expected


def test_sets_have_every_class_from_the_threshold_on_and_are_never_empty() -> None:
    found = set_members(np.array([[0.2, 0.3, 0.5], [0.34, 0.33, 0.33], [0.6, 0.4, 0.0]]), 0.4)
    assert found.tolist() == [[False, False, True], [True, False, False], [True, True, False]]


def test_coverage_on_new_draws_is_the_nominal_one() -> None:
    """Of exchangeable draws, over many calibrations: at least 0.9, at most 1 / (n + 1) more."""
    rng = np.random.default_rng(1)
    hits = trials = 0
    for _ in range(400):
        probabilities = rng.dirichlet([0.4] * 5, 110)
        labels = np.array([rng.choice(5, p=row) for row in probabilities])
        threshold = fit_threshold(probabilities[:100], labels[:100], coverage=0.9)
        own = probabilities[100:][np.arange(10), labels[100:]]
        hits, trials = hits + int((own >= threshold).sum()), trials + 10
    low, high = binom.ppf([1e-4, 1 - 1e-4], trials, [0.9, 0.9 + 1 / 101])
    assert low <= hits <= high


def test_measured_coverage_is_that_of_the_held_out_pictures() -> None:
    validation = rows(*np.linspace(0.05, 0.95, 19))
    held_out = rows(0.01, 0.3, 0.6, 0.9)
    found = fit_sets(validation, held_out, coverage=0.9)
    assert found.coverage == 0.9
    assert found.threshold == pytest.approx(0.1)
    assert found.measured_coverage == covered(*held_out, found.threshold) == 0.75
