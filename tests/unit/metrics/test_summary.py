"""What `metrics.json` says where there is nothing to say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipelines.metrics import Answers, bounds, by_class, by_slice, overall

CLASSES = ("happy", "sad", "surprise")


@pytest.fixture
def answers() -> Answers:
    """Four pictures, three right; "surprise" is neither a label nor a prediction."""
    probabilities = [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.7, 0.2], [0.5, 0.4, 0.1]]
    return Answers.of(["happy", "happy", "sad", "sad"], np.array(probabilities), CLASSES)


def test_figures_of_the_whole(answers: Answers) -> None:
    found = overall(answers)
    assert (found["images"], found["accuracy"], found["top2_accuracy"]) == (4, 0.75, 1.0)
    assert found["balanced_accuracy"] == 0.75
    assert found["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2, abs=1e-6)
    assert found["log_loss"] == pytest.approx(-np.log([0.8, 0.6, 0.7, 0.4]).mean(), abs=1e-6)
    # Both classes that occur are ranked perfectly; the absent one has no curve and leaves the mean.
    assert found["roc_auc"] == 1.0
    # Four bins of one picture each: confidence 0.8, 0.6, 0.7 right, 0.5 wrong.
    assert found["ece"] == pytest.approx((0.2 + 0.4 + 0.3 + 0.5) / 4, abs=1e-6)


def test_an_absent_class_is_null_not_zero(answers: Answers) -> None:
    assert by_class(answers)["surprise"] == {
        "precision": None,
        "recall": None,
        "f1": None,
        "roc_auc": None,
        "support": 0,
    }


def test_an_empty_slice_is_null_not_zero(answers: Answers) -> None:
    masks = {"gray": np.zeros(4, dtype=bool), "color": np.array([True, True, False, True])}
    assert by_slice(answers, masks) == {
        "gray": {"images": 0, "accuracy": None, "macro_f1": None},
        "color": {"images": 3, "accuracy": pytest.approx(2 / 3, abs=1e-6), "macro_f1": 0.4},
    }


def test_one_person_has_no_interval(answers: Answers) -> None:
    assert bounds(answers, np.array(["id1"] * 4), samples=100, seed=0) == {
        "groups": 1,
        "accuracy_low": None,
        "accuracy_high": None,
        "macro_f1_low": None,
        "macro_f1_high": None,
    }


def test_an_interval_lies_around_the_figure(answers: Answers) -> None:
    found = bounds(answers, np.array(["a", "a", "b", "b"]), samples=400, seed=0)
    # Two persons, accuracy 1 and 0.5: both twice are among the resamples.
    assert (found["groups"], found["accuracy_low"], found["accuracy_high"]) == (2, 0.5, 1.0)


def test_no_pictures_at_all_are_null_everywhere_and_valid_json() -> None:
    found = overall(Answers.of([], np.empty((0, 3)), CLASSES))
    assert found.pop("images") == 0
    assert set(found.values()) == {None}
    json.dumps(found, allow_nan=False)
