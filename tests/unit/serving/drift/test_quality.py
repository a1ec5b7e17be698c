"""Quality with feedback and without, against scikit-learn, SciPy and values by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from serving.drift.data import CorrectedFace, CurrentWindow, Probabilities, Reference, Table
from serving.drift.quality import estimate, expected_metrics, measure, quality_of, wilson


def table(predicted: list[str], *, confidence: list[float], entropy: list[float]) -> Table:
    numbers = {"confidence": np.array(confidence), "entropy": np.array(entropy)}
    return Table(numbers=numbers, predicted=np.array(predicted), embedding=np.zeros((len(predicted), 1)))


def current(predicted: list[str], feedback: list[str | None], entropy: list[float]) -> CurrentWindow:
    return CurrentWindow(
        table=table(predicted, confidence=[0.9] * len(predicted), entropy=entropy),
        feedback=tuple(feedback),
        total=len(predicted),
        sampled=False,
        since=0.0,
        until=1.0,
    )


@pytest.fixture
def reference() -> Reference:
    """Right in three rows of five: those with an entropy of at most 0.3."""
    return Reference(
        table=table(
            ["a", "a", "b", "a", "b"],
            confidence=[0.99, 0.9, 0.8, 0.5, 0.4],
            entropy=[0.1, 0.2, 0.3, 0.7, 0.9],
        ),
        labels=np.array(["a", "a", "b", "b", "a"]),
        people=np.arange(5),
    )


@pytest.mark.parametrize("seed", range(4))
def test_measured_quality_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.choice(["x", "y", "z"], (2, 50))
    predicted[predicted == "z"] = "w"  # one class is never predicted, another never true
    found = measure(truth, predicted)
    classes = ["w", "x", "y", "z"]
    assert found.rows == 50
    assert found.accuracy == pytest.approx(accuracy_score(truth, predicted))
    assert found.macro_f1 == pytest.approx(f1_score(truth, predicted, average="macro", zero_division=0))
    matrix = [[found.confusion[one][other] for other in classes] for one in classes]
    assert matrix == confusion_matrix(truth, predicted, labels=classes).tolist()


@pytest.mark.parametrize(("right", "rows"), [(0, 10), (7, 10), (10, 10), (430, 500)])
def test_the_interval_is_wilsons(right: int, rows: int) -> None:
    expected = stats.binomtest(right, rows).proportion_ci(method="wilson")
    assert wilson(right, rows) == pytest.approx((expected.low, expected.high))


def test_average_thresholded_confidence(reference: Reference) -> None:
    # Three of five are right there, so the bound is the third smallest entropy, 0.3: here 2 of 4 reach it.
    found = estimate(reference, current(["a"] * 4, [None] * 4, [0.05, 0.3, 0.31, 2.0]))
    assert found.atc == pytest.approx(0.5)
    assert found.mean_confidence == pytest.approx(0.9)


def test_the_reference_is_estimated_as_good_as_it_is(reference: Reference) -> None:
    same = CurrentWindow(
        table=reference.table, feedback=(None,) * 5, total=5, sampled=False, since=0.0, until=1.0
    )
    assert estimate(reference, same).atc == pytest.approx(0.6)


def test_only_rows_with_feedback_are_measured(reference: Reference) -> None:
    found = quality_of(reference, current(["a", "b", "a"], ["a", None, "b"], [0.1] * 3))
    assert found.reference.accuracy == pytest.approx(0.6)
    assert found.feedback is not None
    assert (found.feedback.rows, found.feedback.accuracy) == (2, 0.5)
    assert quality_of(reference, current(["a"], [None], [0.1])).feedback is None


def test_each_corrected_face_counts_once_also_beside_the_largest(reference: Reference) -> None:
    others = (CorrectedFace(true="b", predicted="a"), CorrectedFace(true="b", predicted="b"))
    window = replace(current(["a", "b", "a"], ["a", None, "b"], [0.1] * 3), other_faces=others)
    found = quality_of(reference, window).feedback
    assert found is not None
    assert (found.rows, found.accuracy) == (4, 0.5)
    assert found.confusion == {"a": {"a": 1, "b": 0}, "b": {"a": 2, "b": 1}}
    only_others = replace(current(["a"], [None], [0.1]), other_faces=others)
    found = quality_of(reference, only_others).feedback
    assert found is not None
    assert (found.rows, found.accuracy) == (2, 0.5)


def test_expected_metrics_by_hand() -> None:
    # Expected counts, predicted × true: a: 0.8, 0.2; b: 0.4, 0.6.
    found = expected_metrics(Probabilities(classes=("a", "b"), values=np.array([[0.8, 0.2], [0.4, 0.6]])))
    assert found is not None
    assert found.accuracy.value == pytest.approx(1.4 / 2)
    assert found.classes["a"].recall.value == pytest.approx(0.8 / 1.2)
    assert found.classes["a"].precision.value == pytest.approx(0.8)
    assert found.classes["b"].recall.value == pytest.approx(0.6 / 0.8)
    assert found.macro_f1.value == pytest.approx((1.6 / 2.2 + 1.2 / 1.8) / 2)


def test_expected_metrics_of_sure_answers_are_scikit_learns() -> None:
    # Sure means: the class that the probabilities name is the true one, so that nothing is left to chance.
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 200)
    found = expected_metrics(Probabilities(classes=("a", "b", "c"), values=np.eye(3)[truth]))
    assert found is not None
    assert found.macro_f1.value == pytest.approx(f1_score(truth, truth, average="macro"))
    for index, name in enumerate("abc"):
        expected = recall_score(truth, truth, labels=[index], average=None)[0]
        recall = found.classes[name].recall
        assert (recall.value, recall.low, recall.high) == (expected, expected, expected)


def test_the_intervals_hold_the_metrics_of_95_percent_of_calibrated_windows() -> None:
    rng = np.random.default_rng(1)
    classes, windows = ("a", "b", "c"), 60
    held = {"accuracy": 0, "macro_f1": 0, "recall": 0, "precision": 0}
    for _ in range(windows):
        values = rng.dirichlet([0.4, 0.7, 1.0], size=150)
        truth = (rng.random((len(values), 1)) > values.cumsum(axis=1)).sum(axis=1)
        predicted = values.argmax(axis=1)
        found = expected_metrics(Probabilities(classes=classes, values=values))
        assert found is not None
        measured = {
            "accuracy": (found.accuracy, accuracy_score(truth, predicted)),
            "macro_f1": (found.macro_f1, f1_score(truth, predicted, average="macro")),
            "recall": (found.classes["b"].recall, recall_score(truth, predicted, average=None)[1]),
            "precision": (found.classes["b"].precision, precision_score(truth, predicted, average=None)[1]),
        }
        for name, (expected, value) in measured.items():
            assert expected.low is not None
            assert expected.high is not None
            held[name] += expected.low <= value <= expected.high
    for name, count in held.items():
        assert stats.binomtest(count, windows).proportion_ci(0.999).high >= 0.95, name
        assert count / windows > 0.85, name


def test_a_class_that_was_never_predicted_has_no_precision_and_rows_without_numbers_do_not_count() -> None:
    values = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [np.nan, 0.5, 0.5]])
    found = expected_metrics(Probabilities(classes=("a", "b", "c"), values=values))
    assert found is not None
    assert found.accuracy.value == pytest.approx(0.65)
    assert found.classes["c"].precision.value is None
    assert found.classes["c"].recall.value == 0
    assert expected_metrics(Probabilities(classes=("a", "b", "c"), values=values[2:])) is None
