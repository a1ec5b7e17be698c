"""Scores of answers to corrupted pictures, against values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.metrics import IntervalEstimate
from pipelines.metrics.classification import Floats, Indices
from pipelines.robustness.corruptions import CORRUPTIONS, SEVERITIES
from pipelines.robustness.record import Scores
from pipelines.robustness.scores import score

NAMES = list(CORRUPTIONS)


def answers(predicted: Indices, confidence: float, *, classes: int = 2) -> Floats:
    """Probabilities [..., classes] with this confidence in the predicted class."""
    rest = (1 - confidence) / (classes - 1)
    return np.where(np.arange(classes) == predicted[..., None], confidence, rest)


def scored(
    actual: list[int], clean: list[int], corrupted: Indices, *, groups: list[str] | None = None
) -> Scores:
    """Scores of answers with a confidence of 0.75 to pictures as they are, 0.9 to corrupted ones."""
    return score(
        np.array(actual),
        answers(np.array(clean), 0.75),
        answers(corrupted, 0.9),
        np.array(groups or [f"p{index}" for index in range(len(actual))]),
        samples=400,
        seed=1,
    )


@pytest.fixture
def four() -> Scores:
    """Four pictures of class 0; one is wrong as it is; noise 3 makes all wrong, dark 2 two of them."""
    corrupted = np.zeros((4, len(NAMES), len(SEVERITIES)), np.int64)
    corrupted[0] = 1  # wrong as it is and in every version
    corrupted[:, NAMES.index("noise"), 2] = 1
    corrupted[:2, NAMES.index("dark"), 1] = 1
    return scored([0, 0, 0, 0], [1, 0, 0, 0], corrupted)


def test_errors_are_means_over_all_cases(four: Scores) -> None:
    # 24 versions of picture 0, noise 3 of three more, dark 2 of one more: 28 of 96 are wrong.
    assert four.mean_corruption_error.value == round(28 / 96, 6)
    assert four.corrupted_accuracy.value == round(68 / 96, 6)
    assert four.clean_accuracy.value == 0.75
    assert four.extra_error.value == round(28 / 96 - 0.25, 6)


def test_the_worst_case_is_the_lowest_accuracy(four: Scores) -> None:
    assert (four.worst.corruption, four.worst.severity, four.worst.accuracy.value) == ("noise", 3, 0.0)


def test_each_case_has_its_accuracy(four: Scores) -> None:
    assert list(four.corruptions) == NAMES
    assert [one.value for one in four.corruptions["dark"]] == [0.75, 0.5, 0.75]
    assert [one.value for one in four.corruptions["blur"]] == [0.75, 0.75, 0.75]


def test_right_counts_the_versions_of_each_picture(four: Scores) -> None:
    assert four.right == (0, 22, 23, 23)


def test_calibration_is_that_of_all_corrupted_pictures(four: Scores) -> None:
    # One bin each: confidence 0.75 against 0.75 right, and 0.9 against 68 of 96 right.
    assert four.clean_ece.value == 0.0
    assert four.corrupted_ece.value == pytest.approx(0.9 - 68 / 96, abs=1e-6)


def ends(estimate: IntervalEstimate) -> tuple[float, float, float]:
    assert estimate.value is not None
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low, estimate.value, estimate.high


def test_every_headline_has_an_interval_around_it(four: Scores) -> None:
    for estimate in (
        four.clean_accuracy,
        four.corrupted_accuracy,
        four.mean_corruption_error,
        four.extra_error,
    ):
        low, value, high = ends(estimate)
        assert low <= value <= high
        assert low < high
    low, value, high = ends(four.mean_corruption_error)
    assert ends(four.corrupted_accuracy) == pytest.approx((1 - high, 1 - value, 1 - low), abs=2e-6)


def test_extra_error_is_paired() -> None:
    """Every picture loses the same two of its 24 versions, so that no resample differs from another."""
    corrupted = np.zeros((6, len(NAMES), len(SEVERITIES)), np.int64)
    corrupted[:, 0, :2] = 1
    found = scored([0] * 6, [0] * 6, corrupted)
    assert ends(found.extra_error) == pytest.approx((2 / 24, 2 / 24, 2 / 24), abs=1e-6)


def test_people_are_resampled_not_pictures() -> None:
    """Two people of 50 alike pictures each: every interval reaches from one person to the other."""
    corrupted = np.zeros((100, len(NAMES), len(SEVERITIES)), np.int64)
    corrupted[50:] = 1
    found = scored([0] * 100, [0] * 50 + [1] * 50, corrupted, groups=["a"] * 50 + ["b"] * 50)
    assert found.people == 2
    assert ends(found.corrupted_accuracy) == (0.0, 0.5, 1.0)


def test_one_person_has_no_interval() -> None:
    corrupted = np.zeros((2, len(NAMES), len(SEVERITIES)), np.int64)
    found = scored([0, 0], [0, 0], corrupted, groups=["a", "a"])
    assert found.corrupted_accuracy == IntervalEstimate(value=1.0, low=None, high=None)
    assert found.corrupted_ece.low is None
