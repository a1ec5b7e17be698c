"""Validation figures against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.utils.class_weight import compute_class_weight

from pipelines.train.metrics import class_weights, macro_f1, validate_logits


def test_figures_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 300)
    logits = rng.normal(0, 3, (300, 5)).astype(np.float32)
    logits[np.arange(300), labels] += 2

    result = validate_logits(logits, labels)

    odds = np.exp(logits.astype(np.float64))
    predicted = logits.argmax(axis=1)
    assert result.loss == pytest.approx(log_loss(labels, odds / odds.sum(axis=1, keepdims=True)), rel=1e-6)
    assert result.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert result.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_a_class_neither_seen_nor_predicted_counts_as_zero() -> None:
    labels, predicted = np.array([0, 0, 1]), np.array([0, 1, 1])
    expected = f1_score(labels, predicted, labels=[0, 1, 2], average="macro", zero_division=0)
    assert macro_f1(labels, predicted, classes=3) == pytest.approx(expected)


def test_huge_logits_give_a_finite_loss() -> None:
    logits = np.array([[1000.0, -1000.0]], np.float32)
    assert validate_logits(logits, np.array([1])).loss == pytest.approx(2000)


def test_class_weights_are_those_scikit_learn_calls_balanced() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(class_weights(labels, classes=3), expected, rtol=1e-6)
    assert class_weights(labels, classes=3)[labels].mean() == pytest.approx(1)
