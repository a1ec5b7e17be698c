"""Distances of resamples, against SciPy and values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from serving.drift.thresholds import JensenShannon, NormedWasserstein


def counts(rows: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(rows, minlength=size)[np.newaxis].astype(np.float64)


@pytest.mark.parametrize("seed", range(5))
def test_wasserstein_is_scipys_in_deviations_of_the_first_sample(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Ties, as pictures of one person have, and values far from zero.
    values = np.round(rng.normal(1000, 2, 60), 1)
    first, second = rng.integers(60, size=80), rng.integers(60, size=25)
    expected = stats.wasserstein_distance(values[first], values[second]) / np.std(values[first])
    found = NormedWasserstein(values)(counts(first, 60), counts(second, 60))
    assert found == pytest.approx([expected])


def test_a_shift_by_two_deviations_is_two() -> None:
    # 0 and 2 have the mean 1 and the deviation 1; both move by 2.
    first, second = np.array([[1.0, 1, 0, 0]]), np.array([[0.0, 0, 1, 1]])
    assert NormedWasserstein(np.array([0.0, 2, 2, 4]))(first, second) == pytest.approx([2.0])


def test_a_sample_of_one_value_is_measured_in_thousandths() -> None:
    """As Evidently does; columns without any variation are left out before."""
    first, second = np.array([[5.0, 0]]), np.array([[0.0, 5]])
    assert NormedWasserstein(np.array([1.0, 1.5]))(first, second) == pytest.approx([500.0])


def test_many_resamples_are_measured_at_once() -> None:
    rng = np.random.default_rng(3)
    measure = NormedWasserstein(rng.normal(size=30))
    first, second = rng.integers(5, size=(2, 7, 30)).astype(np.float64)
    each = [measure(first[[row]], second[[row]])[0] for row in range(7)]
    assert measure(first, second) == pytest.approx(each)


@pytest.mark.parametrize("seed", range(5))
def test_jensen_shannon_is_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = rng.integers(4, size=50)
    first, second = rng.integers(50, size=60), rng.integers(50, size=20)
    shares = [np.bincount(classes[rows], minlength=4) / len(rows) for rows in (first, second)]
    found = JensenShannon(classes, 4)(counts(first, 50), counts(second, 50))
    assert found == pytest.approx([distance.jensenshannon(*shares)])


def test_classes_that_have_nothing_in_common_are_as_far_apart_as_can_be() -> None:
    found = JensenShannon(np.array([0, 1]), 2)(np.array([[3.0, 0]]), np.array([[0.0, 9]]))
    assert found == pytest.approx([np.sqrt(np.log(2))])


def test_equal_samples_are_not_apart() -> None:
    same = np.array([[2.0, 1, 4]])
    assert NormedWasserstein(np.array([3.0, 1, 2]))(same, same) == 0
    assert JensenShannon(np.array([0, 1, 1]), 2)(same, 3 * same) == pytest.approx([0.0], abs=1e-8)
