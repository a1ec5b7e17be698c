"""Metrics by group of people: against scikit-learn, by hand, and how intervals and gaps behave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, balanced_accuracy_score, multilabel_confusion_matrix

from pipelines.core.records import read_record, write_record
from pipelines.metrics import Answers, AttributeScores, by_attribute
from pipelines.metrics.attributes import gaps_of, measures_of

CLASSES = ("angry", "happy", "sad")


def answers(actual: NDArray[np.int64], predicted: NDArray[np.int64]) -> Answers:
    return Answers(classes=CLASSES, actual=actual, probabilities=np.eye(len(CLASSES))[predicted])


def drawn(count: int = 600, *, wrong: dict[str, float]) -> tuple[Answers, NDArray[np.int64], list[str]]:
    """Answers, people with three pictures each, and a value of each person; `wrong` is the share by value."""
    rng = np.random.default_rng(5)
    people = np.repeat(np.arange(count // 3), 3)
    kinds = np.array(list(wrong))[rng.integers(len(wrong), size=count // 3)][people]
    actual = rng.integers(3, size=count)
    missed = rng.random(count) < np.array([wrong[kind] for kind in kinds])
    return answers(actual, (actual + missed * rng.integers(1, 3, size=count)) % 3), people, kinds.tolist()


def test_the_measures_are_those_of_scikit_learn() -> None:
    given, people, values = drawn(wrong={"a": 0.1, "b": 0.4})
    scores = by_attribute(given, people, values, min_images=1, samples=100, seed=1)
    assert set(scores.groups) == {"a", "b"}
    for value, found in scores.groups.items():
        mask = np.array(values) == value
        actual, predicted = given.actual[mask], given.predicted[mask]
        assert found.images == mask.sum()
        assert found.people == len(set(people[mask]))
        assert found.accuracy.value == pytest.approx(accuracy_score(actual, predicted), abs=1e-6)
        assert found.recall.value == pytest.approx(balanced_accuracy_score(actual, predicted), abs=1e-6)
        (negatives, false), _ = np.moveaxis(multilabel_confusion_matrix(actual, predicted), 0, -1)
        rates = false / (false + negatives)
        assert found.false_positive_rate.value == pytest.approx(rates.mean(), abs=1e-6)


def test_by_hand() -> None:
    """Three right of four for `a`, one of two for `b`: a gap of a quarter."""
    given = answers(np.array([0, 0, 1, 2, 0, 1]), np.array([0, 1, 1, 2, 1, 1]))
    values = ["a", "a", "a", "a", "b", "b"]
    scores = by_attribute(given, np.arange(6), values, min_images=2, samples=100, seed=1)
    assert [one.value for one in measures_of(scores.groups["a"])] == [
        0.75,
        pytest.approx((1 / 2 + 1 + 1) / 3, abs=1e-6),
        # `happy` is answered for one of the three pictures of other classes.
        pytest.approx((0 + 1 / 3 + 0) / 3, abs=1e-6),
    ]
    assert scores.gaps["accuracy"].value == 0.25


def test_gaps_come_in_the_order_of_the_measures_also_from_a_file(tmp_path: Path) -> None:
    given, people, values = drawn(wrong={"a": 0.1, "b": 0.4})
    scores = by_attribute(given, people, values, min_images=1, samples=100, seed=1)
    write_record(tmp_path / "scores.json", scores)
    read = read_record(tmp_path / "scores.json", AttributeScores, stage="evaluate")
    first, second = (measures_of(read.groups[value]) for value in ("a", "b"))
    for gap, one, other in zip(gaps_of(read), first, second, strict=True):
        assert gap.value is not None
        assert one.value is not None
        assert other.value is not None
        assert gap.value == pytest.approx(abs(one.value - other.value), abs=2e-6)


def test_small_groups_and_unknown_values_are_left_out() -> None:
    given, people, values = drawn(wrong={"a": 0.1, "b": 0.1})
    values[:5] = ["rare"] * 5
    values[5:100] = [""] * 95
    scores = by_attribute(given, people, values, min_images=6, samples=100, seed=1)
    assert set(scores.groups) == {"a", "b"}
    assert scores.left_out == {"rare": 5}
    assert sum(found.images for found in scores.groups.values()) == 500


def test_a_group_alone_has_no_gap() -> None:
    given, people, _ = drawn(wrong={"a": 0.1})
    scores = by_attribute(given, people, ["a"] * 600, min_images=6, samples=100, seed=1)
    assert scores.gaps == {}
    assert by_attribute(given, people, [""] * 600, min_images=6, samples=100, seed=1).groups == {}


def test_one_person_has_no_interval() -> None:
    given, people, values = drawn(wrong={"a": 0.1, "b": 0.2})
    scores = by_attribute(given, np.zeros_like(people), values, min_images=6, samples=100, seed=1)
    assert scores.groups["a"].accuracy.low is None
    assert scores.gaps["accuracy"].value is not None


def test_the_interval_of_a_gap_covers_the_true_one() -> None:
    """Over 200 data sets the interval holds the true gap, 0.2, about as often as it says."""
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        kinds = np.repeat(rng.integers(2, size=150), 2)
        actual = rng.integers(3, size=300)
        missed = rng.random(300) < 0.1 + 0.2 * kinds
        given = answers(actual, (actual + missed) % 3)
        values = np.array(["a", "b"])[kinds].tolist()
        people = np.repeat(np.arange(150), 2)
        gap = by_attribute(given, people, values, min_images=1, samples=200, seed=seed).gaps["accuracy"]
        assert gap.low is not None
        assert gap.high is not None
        covered += gap.low <= 0.2 <= gap.high
    # Binomial with 200 × 0.95: below 180 once in 700 times; the percentile bootstrap is a little narrow.
    assert covered >= 176
