"""Intervals of the gate's metrics, against SciPy's and against resampling pictures in a loop."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from pipelines.gate.estimates import LEVEL, Measured, Pictures, exact_distance, measure, measure_calibration
from pipelines.metrics import accuracy, confusion_matrix, expected_calibration_error, reliability

CLASSES = ("angry", "happy", "sad")


def pictures(count: int, *, per_person: int = 1, slices: Mapping[str, np.ndarray] | None = None) -> Pictures:
    random = np.random.default_rng(0)
    return Pictures(
        classes=CLASSES,
        actual=random.integers(0, 3, count),
        groups=np.arange(count) // per_person,
        slices=slices or {},
    )


def answers(shown: Pictures, right: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    guess = random.integers(0, 3, len(shown.actual))
    return np.where(random.random(len(guess)) < right, shown.actual, guess)


def test_drop_of_accuracy_has_scipys_paired_interval() -> None:
    shown = pictures(600)
    ours, theirs = answers(shown, 0.5, seed=1), answers(shown, 0.7, seed=2)
    found = measure(shown, [ours, theirs], samples=4000)["accuracy"].drop
    right = [(one == shown.actual).astype(float) for one in (ours, theirs)]
    expected = stats.bootstrap(
        (right[1], right[0]),
        lambda production, candidate, axis: production.mean(axis) - candidate.mean(axis),
        paired=True, n_resamples=4000, method="percentile", rng=3,
    ).confidence_interval  # fmt: skip
    assert found.value == pytest.approx(right[1].mean() - right[0].mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.006)


def test_models_that_fail_on_the_same_pictures_have_a_narrower_drop_than_unpaired_ones() -> None:
    shown = pictures(600)
    theirs = answers(shown, 0.5, seed=1)
    ours = theirs.copy()
    ours[:30] = answers(shown, 0.5, seed=2)[:30]
    found = measure(shown, [ours, theirs], samples=2000)["accuracy"]
    width = found.estimate.high - found.estimate.low
    assert found.drop.high - found.drop.low < width / 2


def test_every_metric_equals_a_loop_over_people() -> None:
    low = np.arange(240) < 150
    shown = pictures(240, per_person=3, slices={"brightness: low": low})
    models = [answers(shown, 0.6, seed=1), answers(shown, 0.8, seed=2)]
    found = measure(shown, models, samples=3000)
    random, values = np.random.default_rng(9), []
    for _ in range(3000):
        chosen = np.concatenate([np.flatnonzero(shown.groups == one) for one in random.integers(0, 80, 80)])
        dark = chosen[low[chosen]]
        both = []
        for predicted in models:
            matrix = confusion_matrix(shown.actual[chosen], predicted[chosen], classes=3)
            both.append(
                (
                    accuracy(matrix),
                    matrix[1, 1] / matrix[1].sum(),
                    (predicted[dark] == shown.actual[dark]).mean(),
                )
            )
        values.append(np.subtract(both[1], both[0]))
    expected = np.quantile(values, (0.025, 0.975), axis=0).T
    for name, ends in zip(
        ("accuracy", "class_recall.happy", "slice_accuracy.brightness: low"), expected, strict=True
    ):
        drop = found[name].drop
        assert (drop.low, drop.high) == pytest.approx(tuple(ends), abs=0.015), name


def test_value_of_a_slice_is_the_share_of_right_pictures_in_it() -> None:
    low = np.array([True, True, True, False])
    shown = Pictures(
        classes=CLASSES, actual=np.array([0, 1, 2, 0]), groups=np.arange(4), slices={"mode: gray": low}
    )
    found = measure(shown, [np.array([0, 1, 0, 1]), np.array([1, 1, 0, 0])], samples=1000)
    assert found["slice_accuracy.mode: gray"].values == pytest.approx([2 / 3, 1 / 3])
    assert found["slice_accuracy.mode: gray"].people == 3


def test_exact_distance_is_clopper_and_pearsons_bound_for_no_event() -> None:
    for people in (1, 8, 345):
        expected = stats.binomtest(0, people).proportion_ci(0.95, method="exact").high
        assert exact_distance(people) == pytest.approx(expected)


def test_models_that_agree_on_few_people_are_not_known_to_be_equal() -> None:
    shown = pictures(8)
    same = answers(shown, 0.5, seed=1)
    drop = measure(shown, [same, same], samples=1000)["accuracy"].drop
    assert drop.value == 0
    assert drop.high == -drop.low == pytest.approx(1 - LEVEL ** (1 / 8))


def test_recall_counts_the_people_who_show_the_class() -> None:
    shown = Pictures(classes=CLASSES, actual=np.array([0, 0, 0, 1]), groups=np.array(list("aabc")), slices={})
    found = measure(shown, [np.array([0, 0, 1, 1])], samples=1000)
    assert (found["class_recall.angry"].people, found["class_recall.happy"].people) == (2, 1)
    assert found["class_recall.angry"].estimate.value == pytest.approx(2 / 3)
    assert np.isnan(found["class_recall.sad"].estimate.value)


def test_interval_of_a_value_stays_in_its_range() -> None:
    certain = Measured(values=np.array([1.0]), resampled=np.ones((1000, 1)), people=5)
    assert certain.estimate.high == 1.0
    assert certain.estimate.low == pytest.approx(1 - exact_distance(5))


def test_calibration_of_probabilities_that_are_not_finite_is_undefined() -> None:
    shown = pictures(10)
    probabilities = np.full((10, 3), 1 / 3)
    probabilities[4] = np.nan
    found = measure_calibration(shown, probabilities, samples=1000)
    assert all(np.isnan(found[name].estimate.value) for name in ("ece", "brier"))


def test_calibration_and_brier_score() -> None:
    shown = pictures(500, per_person=2)
    random = np.random.default_rng(4)
    logits = random.normal(size=(500, 3)) + 2 * np.eye(3)[shown.actual]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = measure_calibration(shown, probabilities, samples=2000)
    confidence, predicted = probabilities.max(1), probabilities.argmax(1)
    error = expected_calibration_error(reliability(confidence, predicted == shown.actual))
    assert found["ece"].estimate.value == pytest.approx(error)
    assert found["ece"].estimate.low < float(error or 0) < found["ece"].estimate.high
    losses = [
        sum((one[index] - (index == label)) ** 2 for index in range(3))
        for one, label in zip(probabilities, shown.actual, strict=True)
    ]
    brier = found["brier"].estimate
    assert brier.value == pytest.approx(np.mean(losses))
    people = np.reshape(losses, (-1, 2)).mean(1)
    expected = stats.bootstrap(
        (people,), np.mean, n_resamples=4000, method="percentile", rng=1
    ).confidence_interval
    assert (brier.low, brier.high) == pytest.approx((expected.low, expected.high), abs=0.006)
