"""Labels are flipped as often as asked, to another class, and what was found is counted."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.label_errors import flipped, scores


def test_a_flipped_label_is_of_another_class_and_the_others_stay() -> None:
    labels = np.random.default_rng(0).integers(0, 7, 1000)
    changed, wrong = flipped(labels, 7, 0.1, seed=1)
    assert wrong.sum() == 100
    assert ((changed != labels) == wrong).all()
    assert set(changed.tolist()) == set(range(7))
    again, _ = flipped(labels, 7, 0.1, seed=1)
    assert (again == changed).all()


def test_precision_and_recall_by_hand() -> None:
    wrong = np.array([True, True, True, False, False])
    found = np.array([True, False, True, True, False])
    assert scores(found, wrong) == pytest.approx((3, 2 / 3, 2 / 3))
    assert scores(np.zeros(5, np.bool_), wrong) == (0, 0, 0)
