"""Confusion-matrix and ranking metrics, log loss: against scikit-learn and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn

from pipelines import metrics

CLASSES = 5


@pytest.fixture(scope="module")
def answers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Actual, probabilities (with ties), predicted, of 400 pictures and five unequal classes."""
    random = np.random.default_rng(3)
    actual = random.choice(CLASSES, 400, p=[0.4, 0.25, 0.2, 0.1, 0.05])
    logits = random.normal(size=(400, CLASSES)) + 1.5 * np.eye(CLASSES)[actual]
    probabilities = np.round(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), 2)
    return actual, probabilities, probabilities.argmax(1)


@pytest.fixture(scope="module")
def matrix(answers: tuple[np.ndarray, ...]) -> np.ndarray:
    return metrics.confusion_matrix(answers[0], answers[2], classes=CLASSES)


def test_rows_of_the_confusion_matrix_are_actual_classes() -> None:
    found = metrics.confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), classes=3)
    assert found.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_matrix_metrics_equal_scikit_learn(answers: tuple[np.ndarray, ...], matrix: np.ndarray) -> None:
    actual, _, predicted = answers
    per_class = sklearn.precision_recall_fscore_support(actual, predicted)
    assert matrix == pytest.approx(sklearn.confusion_matrix(actual, predicted))
    assert metrics.precision(matrix) == pytest.approx(per_class[0])
    assert metrics.recall(matrix) == pytest.approx(per_class[1])
    assert metrics.f1(matrix) == pytest.approx(per_class[2])
    assert metrics.accuracy(matrix) == pytest.approx(sklearn.accuracy_score(actual, predicted))
    assert metrics.macro_f1(matrix) == pytest.approx(sklearn.f1_score(actual, predicted, average="macro"))
    assert metrics.balanced_accuracy(matrix) == pytest.approx(
        sklearn.balanced_accuracy_score(actual, predicted)
    )
    assert metrics.cohen_kappa(matrix) == pytest.approx(sklearn.cohen_kappa_score(actual, predicted))


def test_a_stack_of_matrices_is_scored_like_each_of_them(matrix: np.ndarray) -> None:
    stack = np.stack([matrix, matrix.T, np.eye(CLASSES) * 4])
    for metric in (
        metrics.accuracy,
        metrics.balanced_accuracy,
        metrics.macro_f1,
        metrics.cohen_kappa,
        metrics.f1,
    ):
        assert metric(stack) == pytest.approx(np.stack([metric(one) for one in stack]))


def test_a_class_without_pictures_has_no_recall_and_leaves_the_means() -> None:
    matrix = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert metrics.recall(matrix) == pytest.approx([0.75, 1, np.nan], nan_ok=True)
    assert metrics.precision(matrix) == pytest.approx([1, 0.8, np.nan], nan_ok=True)
    assert metrics.f1(matrix) == pytest.approx([6 / 7, 8 / 9, np.nan], nan_ok=True)
    assert metrics.balanced_accuracy(matrix) == pytest.approx(0.875)
    assert metrics.macro_f1(matrix) == pytest.approx((6 / 7 + 8 / 9) / 2)


def test_a_class_never_predicted_has_no_precision_but_an_f1_of_zero() -> None:
    matrix = np.array([[4, 0], [2, 0]])
    assert metrics.precision(matrix) == pytest.approx([4 / 6, np.nan], nan_ok=True)
    assert metrics.f1(matrix) == pytest.approx([0.8, 0])


def test_an_empty_matrix_has_no_metric() -> None:
    empty = np.zeros((3, 3), dtype=int)
    assert np.isnan(
        [metrics.accuracy(empty), metrics.balanced_accuracy(empty), metrics.macro_f1(empty)]
    ).all()


def test_kappa_is_undefined_when_chance_always_agrees() -> None:
    assert np.isnan(metrics.cohen_kappa(np.array([[7, 0], [0, 0]])))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_equals_scikit_learn_where_no_ties_decide(k: int) -> None:
    random = np.random.default_rng(k)
    actual, probabilities = random.integers(0, 4, 200), random.dirichlet(np.ones(4), 200)
    expected = sklearn.top_k_accuracy_score(actual, probabilities, k=k)
    assert metrics.top_k_accuracy(actual, probabilities, k=k) == pytest.approx(expected)


def test_top_k_breaks_a_tie_by_the_lower_index() -> None:
    tied = np.full((2, 3), 1 / 3)
    assert metrics.top_k_accuracy(np.array([1, 2]), tied, k=2) == 0.5


def test_log_loss_equals_scikit_learn() -> None:
    random = np.random.default_rng(5)
    actual, probabilities = random.integers(0, 4, 300), random.dirichlet(np.ones(4), 300)
    expected = sklearn.log_loss(actual, probabilities)
    assert metrics.log_loss(actual, probabilities) == pytest.approx(expected)


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    assert metrics.log_loss(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(-np.log(5e-7))


def test_roc_auc_with_ties_equals_scikit_learn(answers: tuple[np.ndarray, ...]) -> None:
    actual, probabilities, _ = answers
    expected = [sklearn.roc_auc_score(actual == index, probabilities[:, index]) for index in range(CLASSES)]
    assert metrics.roc_auc(actual, probabilities) == pytest.approx(expected)


def test_roc_auc_is_undefined_for_an_absent_class_and_for_the_only_one() -> None:
    area = metrics.roc_auc(np.zeros(4, dtype=int), np.full((4, 2), 0.5))
    assert np.isnan(area).all()


def test_no_pictures_give_no_numbers() -> None:
    nothing, none = np.empty(0, dtype=int), np.empty((0, 3))
    assert metrics.top_k_accuracy(nothing, none, k=2) is None
    assert metrics.log_loss(nothing, none) is None


def test_roc_curve_passes_through_the_points_of_scikit_learn(answers: tuple[np.ndarray, ...]) -> None:
    actual, probabilities, _ = answers
    false, true = metrics.roc_curve(actual == 1, probabilities[:, 1], points=1000)
    expected_false, expected_true, _ = sklearn.roc_curve(
        actual == 1, probabilities[:, 1], drop_intermediate=False
    )
    assert false == pytest.approx(expected_false)
    assert true == pytest.approx(expected_true)


def test_a_thinned_roc_curve_keeps_its_ends_and_its_area() -> None:
    random = np.random.default_rng(8)
    actual = random.random(5000) < 0.3
    score = random.random(5000) + actual * 0.4
    false, true = metrics.roc_curve(actual, score, points=200)
    assert len(false) <= 200
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all()
    assert (np.diff(true) >= 0).all()
    assert np.trapezoid(true, false) == pytest.approx(sklearn.roc_auc_score(actual, score), abs=2e-3)


def test_the_roc_curve_of_an_absent_class_is_empty() -> None:
    false, true = metrics.roc_curve(np.zeros(3, dtype=bool), np.array([0.1, 0.2, 0.3]), points=10)
    assert len(false) == len(true) == 0
