"""Confident learning: by hand, on simulated flips, and where there is nothing to find."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.metrics import Answers
from pipelines.metrics.label_errors import find_label_errors

CLASSES = ("angry", "happy", "sad", "fear", "disgust")


def simulated(count: int, *, flipped: float, sharpness: float = 2.5) -> tuple[Answers, NDArray[np.bool_]]:
    """Labels of which some are flipped, and calibrated probabilities of the true classes.

    True classes are drawn from the probabilities themselves, so these are calibrated by construction.
    """
    rng = np.random.default_rng(7)
    logits = rng.normal(0, sharpness, (count, len(CLASSES)))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    true = (probabilities.cumsum(1) > rng.random((count, 1))).argmax(1)
    wrong = rng.random(count) < flipped
    given = (true + wrong * rng.integers(1, len(CLASSES), size=count)) % len(CLASSES)
    return Answers(classes=CLASSES, actual=given, probabilities=probabilities), wrong


def test_by_hand() -> None:
    """Thresholds 0.6 and 0.8: picture 2 has the label `a` and counts for `b`, the others for their own."""
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.2, 0.8]])
    given = np.array([0, 0, 0, 1, 1])
    found = find_label_errors(Answers(classes=("a", "b"), actual=given, probabilities=probabilities))
    assert found.joint == pytest.approx(np.array([[2 / 5, 1 / 5], [0, 2 / 5]]))
    assert found.wrong.tolist() == [False, False, True, False, False]
    assert found.suggested.tolist() == [1, 1, 1, 0, 0]
    assert found.margin[2] == pytest.approx(0.8)
    assert found.share == pytest.approx(1 / 5)
    assert found.share_by_class == pytest.approx([1 / 3, 0])
    assert found.ranked().tolist() == [2]


@pytest.mark.parametrize("flipped", [0.05, 0.1])
def test_flipped_labels_are_found_far_more_often_than_by_chance(flipped: float) -> None:
    answers, wrong = simulated(5000, flipped=flipped, sharpness=4.0)
    found = find_label_errors(answers)
    precision = wrong[found.wrong].mean()
    recall = found.wrong[wrong].mean()
    # True classes that are improbable look the same as flipped labels: with these probabilities the classes
    # themselves are predicted right in four of five cases.
    assert precision > 4 * flipped
    assert recall > 0.5
    first = found.ranked()[: int(wrong.sum() / 2)]
    assert wrong[first].mean() > precision


def test_labels_that_a_sure_model_agrees_with_are_not_called_wrong() -> None:
    given = np.tile(np.arange(5), 20)
    answers = Answers(classes=CLASSES, actual=given, probabilities=np.eye(5)[given] * 0.9 + 0.02)
    found = find_label_errors(answers)
    assert found.share == 0
    assert not found.wrong.any()
    assert len(found.ranked()) == 0


def test_a_class_without_labels_and_one_without_confidence_do_no_harm() -> None:
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.ones(5), 40)
    answers = Answers(classes=CLASSES, actual=rng.integers(3, size=40), probabilities=probabilities)
    found = find_label_errors(answers)
    assert found.joint.sum() == pytest.approx(1)
    assert np.isnan(found.share_by_class[3:]).all()
    assert np.isfinite(found.margin).all()


def test_the_estimated_share_is_near_the_true_one() -> None:
    """With a model that is right nearly always, the estimate is the share of flips."""
    rng = np.random.default_rng(11)
    true = rng.integers(5, size=4000)
    noise = rng.dirichlet(np.ones(5), 4000)
    probabilities = 0.85 * np.eye(5)[true] + 0.15 * noise
    wrong = rng.random(4000) < 0.08
    given = (true + wrong * rng.integers(1, 5, size=4000)) % 5
    found = find_label_errors(Answers(classes=CLASSES, actual=given, probabilities=probabilities))
    assert found.share == pytest.approx(wrong.mean(), abs=0.02)
    assert wrong[found.wrong].mean() > 0.95
    assert found.wrong[wrong].mean() > 0.9
