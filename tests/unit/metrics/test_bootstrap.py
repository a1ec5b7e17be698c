"""Cluster-bootstrap intervals, against SciPy's and a resampling written out in plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipelines.metrics import (
    accuracy,
    confusion_matrix,
    group_confusions,
    group_sums,
    interval_estimate,
    intervals,
    macro_f1,
    resampled,
    resampled_means,
)


def _answers(pictures: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    actual = random.integers(0, 4, pictures)
    return actual, np.where(random.random(pictures) < 0.6, actual, random.integers(0, 4, pictures))


def test_group_sums_add_up_to_the_whole_matrix() -> None:
    actual, predicted = _answers(60, seed=0)
    groups = np.array([f"id{index % 7}" for index in range(60)])
    sums = group_confusions(actual, predicted, groups=groups, classes=4)
    assert sums.shape == (7, 4, 4)
    assert sums.sum(0) == pytest.approx(confusion_matrix(actual, predicted, classes=4))
    first = groups == "id0"
    assert sums[0] == pytest.approx(confusion_matrix(actual[first], predicted[first], classes=4))


def test_with_a_picture_per_group_accuracy_has_scipys_percentile_interval() -> None:
    actual, predicted = _answers(400, seed=1)
    sums = group_confusions(actual, predicted, groups=np.arange(400), classes=4)
    found = intervals(sums, {"accuracy": accuracy}, samples=4000, seed=0)["accuracy"]
    expected = stats.bootstrap(
        ((actual == predicted).astype(float),), np.mean, n_resamples=4000, method="percentile", rng=1
    ).confidence_interval
    assert found == pytest.approx((expected.low, expected.high), abs=0.005)


def test_persons_who_agree_with_themselves_widen_the_interval() -> None:
    # Twenty persons with ten equal pictures each hold no more than twenty independent ones.
    right = np.random.default_rng(2).random(20) < 0.6
    actual = np.zeros(200, dtype=int)
    predicted = np.repeat(~right, 10).astype(int)
    persons = intervals(
        group_confusions(actual, predicted, groups=np.repeat(np.arange(20), 10), classes=2),
        {"accuracy": accuracy},
        samples=2000,
        seed=0,
    )["accuracy"]
    expected = stats.bootstrap(
        (right.astype(float),), np.mean, n_resamples=2000, method="percentile", rng=3
    ).confidence_interval
    assert persons == pytest.approx((expected.low, expected.high), abs=0.051)


def test_macro_f1_interval_equals_resampling_pictures_in_a_loop() -> None:
    actual, predicted = _answers(90, seed=4)
    groups = np.arange(90) // 3
    sums = group_confusions(actual, predicted, groups=groups, classes=4)
    found = intervals(sums, {"macro_f1": macro_f1}, samples=3000, seed=0)["macro_f1"]
    random = np.random.default_rng(9)
    values = []
    for _ in range(3000):
        chosen = np.concatenate([np.flatnonzero(groups == one) for one in random.integers(0, 30, 30)])
        values.append(macro_f1(confusion_matrix(actual[chosen], predicted[chosen], classes=4)))
    assert found == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))), abs=0.01)


def test_the_seed_decides_the_interval() -> None:
    actual, predicted = _answers(50, seed=5)
    sums = group_confusions(actual, predicted, groups=np.arange(50), classes=4)
    results = [intervals(sums, {"macro_f1": macro_f1}, samples=200, seed=seed) for seed in (1, 1, 2)]
    assert results[0] == results[1] != results[2]


def test_statistics_share_their_resamples() -> None:
    actual, predicted = _answers(50, seed=6)
    sums = group_confusions(actual, predicted, groups=np.arange(50), classes=4)
    both = intervals(sums, {"accuracy": accuracy, "macro_f1": macro_f1}, samples=150, seed=1)
    alone = intervals(sums, {"macro_f1": macro_f1}, samples=150, seed=1)
    assert both["macro_f1"] == alone["macro_f1"]


def test_one_group_has_no_interval() -> None:
    sums = group_confusions(np.array([0, 1]), np.array([0, 0]), groups=np.array(["a", "a"]), classes=2)
    assert intervals(sums, {"accuracy": accuracy}, samples=100, seed=0) == {"accuracy": None}


def test_sums_of_groups_are_those_of_their_pictures() -> None:
    values = np.arange(12, dtype=float).reshape(6, 2)
    sums = group_sums(values, np.array(list("bababa")))
    assert sums.tolist() == [[2 + 6 + 10, 3 + 7 + 11], [0 + 4 + 8, 1 + 5 + 9]]


def test_resamples_are_sums_of_as_many_groups_and_shared_by_the_other_axes() -> None:
    first = np.array([1.0, 10.0, 100.0])
    drawn = resampled(np.stack([np.ones(3), first, 2 * first], axis=1), samples=500, seed=0)
    assert set(drawn[:, 0]) == {3.0}
    assert (drawn[:, 2] == 2 * drawn[:, 1]).all()
    # Three draws of 1, 10 and 100: all 27 results have a digit sum of 3, and 10 of them differ.
    assert {sum(map(int, str(int(one)))) for one in drawn[:, 1]} == {3}
    assert len(set(drawn[:, 1])) == 10


def test_means_of_a_resample_weigh_every_picture_of_a_drawn_group() -> None:
    # One person has one picture, 0.0; the other has three, 1.0.
    values = np.array([[0.0], [1.0], [1.0], [1.0]])
    drawn = resampled_means(values, np.array(list("abbb")), samples=400, seed=0)
    assert drawn.shape == (400, 1)
    assert set(drawn[:, 0]) == {0.0, 0.75, 1.0}


def test_an_estimate_has_the_central_95_percent_of_its_resamples() -> None:
    drawn = np.append(np.arange(1001) / 1000, np.nan)
    found = interval_estimate(0.123456, drawn, decimals=3)
    assert (found.value, found.low, found.high) == (0.123, 0.025, 0.975)
    for nothing in (None, np.full(5, np.nan)):
        found = interval_estimate(0.5, nothing)
        assert (found.value, found.low, found.high) == (0.5, None, None)
