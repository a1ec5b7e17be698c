"""What `metrics.json` says where there is nothing to say."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from pipelines.metrics import (
    METRICS,
    Answers,
    BasicScores,
    ClassScores,
    TestScores,
    by_class,
    by_slice,
    overall,
)

CLASSES = ("happy", "sad", "surprise")


@pytest.fixture
def answers() -> Answers:
    """Four pictures, three right; "surprise" is neither a label nor a prediction."""
    probabilities = [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.7, 0.2], [0.5, 0.4, 0.1]]
    return Answers.of(["happy", "happy", "sad", "sad"], np.array(probabilities), CLASSES)


def scores(answers: Answers, *groups: str, samples: int = 100) -> TestScores:
    return overall(answers, np.array(groups, dtype=str), samples=samples, seed=0)


def test_figures_of_the_whole(answers: Answers) -> None:
    found = scores(answers, *"abcd")
    assert (found.images, found.accuracy, found.top2_accuracy) == (4, 0.75, 1.0)
    assert found.balanced_accuracy == 0.75
    assert found.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2, abs=1e-6)
    assert found.log_loss == pytest.approx(-np.log([0.8, 0.6, 0.7, 0.4]).mean(), abs=1e-6)
    # Both classes that occur are ranked perfectly; the absent one has no curve and leaves the mean.
    assert found.roc_auc == 1.0
    # Four bins of one picture each: confidence 0.8, 0.6, 0.7 right, 0.5 wrong.
    assert found.ece == pytest.approx((0.2 + 0.4 + 0.3 + 0.5) / 4, abs=1e-6)


def test_an_absent_class_is_null_not_zero(answers: Answers) -> None:
    assert by_class(answers)["surprise"] == ClassScores(
        precision=None, recall=None, f1=None, roc_auc=None, support=0
    )


def test_an_empty_slice_is_null_not_zero(answers: Answers) -> None:
    masks = {"gray": np.zeros(4, dtype=bool), "color": np.array([True, True, False, True])}
    assert by_slice(answers, masks) == {
        "gray": BasicScores(images=0, accuracy=None, macro_f1=None),
        "color": BasicScores(images=3, accuracy=0.666667, macro_f1=0.4),
    }


def test_one_person_has_no_interval(answers: Answers) -> None:
    found = scores(answers, *["id1"] * 4)
    assert found.groups == 1
    assert {found.accuracy_low, found.accuracy_high, found.macro_f1_low, found.macro_f1_high} == {None}


def test_an_interval_lies_around_the_figure(answers: Answers) -> None:
    found = scores(answers, *"aabb", samples=400)
    # Two persons, accuracy 1 and 0.5: both twice are among the resamples.
    assert (found.groups, found.accuracy_low, found.accuracy_high) == (2, 0.5, 1.0)


def test_no_pictures_at_all_are_null_everywhere() -> None:
    values = asdict(scores(Answers.of([], np.empty((0, 3)), CLASSES)))
    assert (values.pop("images"), values.pop("groups")) == (0, 0)
    assert set(values.values()) == {None}


def test_a_score_is_shown_with_its_interval_where_that_is_known(answers: Answers) -> None:
    shown = {score.name: score.text(" ({low:.2f}–{high:.2f})") for score in scores(answers, *"aabb").scores()}
    assert list(shown) == list(METRICS)
    assert shown["accuracy"] == "0.750 (0.50–1.00)"
    assert shown["balanced_accuracy"] == "0.750"
    nothing = scores(Answers.of([], np.empty((0, 3)), CLASSES))
    assert nothing.score("accuracy").text(" ({low:.2f}–{high:.2f})") == "–"
