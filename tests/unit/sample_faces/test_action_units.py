"""Expressions: the published prototypes, and how one showing of them is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from sample_faces.action_units import (
    ACCOMPANYING,
    ACTION_UNITS,
    CLARITIES,
    CLASSES,
    PROTOTYPES,
    Clarity,
    draw_expression,
    draw_intensity,
    express,
)
from sample_faces.displacements import MOVES

# Friesen & Ekman, 1983, as the issue that asked for this dataset quotes it.
EMFACS = {
    "happy": {6, 12},
    "sad": {1, 4, 15},
    "surprise": {1, 2, 5, 26},
    "fear": {1, 2, 4, 5, 7, 20, 26},
    "angry": {4, 5, 7, 23},
    "disgust": {9, 15, 16},
    "neutral": set(),
}


def test_prototypes_are_those_of_emfacs() -> None:
    assert {label: set(units) for label, units in PROTOTYPES.items()} == EMFACS


def test_classes_are_in_index_order() -> None:
    assert sorted(EMFACS) == list(CLASSES)


def test_every_unit_that_is_used_can_move_the_face() -> None:
    used = {unit for units in (*PROTOTYPES.values(), *ACCOMPANYING.values()) for unit in units}
    assert used <= set(ACTION_UNITS) == set(MOVES)


@pytest.mark.parametrize("label", CLASSES)
def test_intensity_0_is_neutral(label: str) -> None:
    nothing = draw_expression(label, 0.0, np.random.default_rng(4))
    neutral = draw_expression("neutral", 1.0, np.random.default_rng(4))
    np.testing.assert_array_equal(nothing.activation, neutral.activation)


@pytest.mark.parametrize("label", CLASSES)
def test_full_intensity_pulls_every_unit_of_the_prototype(label: str) -> None:
    shown = draw_expression(label, 1.0, np.random.default_rng(4))
    assert all(min(shown.side(unit)) > 0.6 for unit in PROTOTYPES[label])


@pytest.mark.parametrize("label", CLASSES)
def test_every_class_takes_the_same_draws(label: str) -> None:
    rng, neutral = np.random.default_rng(4), np.random.default_rng(4)
    draw_expression(label, 1.0, rng)
    draw_expression("neutral", 0.0, neutral)
    assert rng.random() == neutral.random()


def test_halves_differ_a_little() -> None:
    shown = draw_expression("happy", 0.8, np.random.default_rng(4))
    left, right = shown.side(12)
    assert 0 < abs(left - right) < 0.25


def test_unrelated_twitches_stay_weak() -> None:
    rng = np.random.default_rng(4)
    drawn = np.stack([draw_expression("neutral", 1.0, rng).activation for _ in range(300)])
    assert 0.1 < drawn.max() < 0.3
    assert (drawn.max(axis=(1, 2)) > 0.05).mean() > 0.5


@pytest.mark.parametrize(("clarity", "median"), [("clear", 0.78), ("subtle", 0.64)])
def test_intensities_reach_from_barely_visible_to_full(clarity: Clarity, median: float) -> None:
    rng = np.random.default_rng(4)
    drawn = np.array([draw_intensity(rng, clarity) for _ in range(2000)])
    assert drawn.min() < 0.15
    assert drawn.max() > 0.97
    assert np.median(drawn) == pytest.approx(median, abs=0.03)


def test_clear_expressions_are_barely_visible_less_often() -> None:
    rng = np.random.default_rng(4)
    clear, subtle = (
        np.mean([draw_intensity(rng, clarity) < 0.25 for _ in range(5000)]) for clarity in CLARITIES
    )
    assert 0.01 < clear < 0.5 * subtle


def test_express_sets_both_halves() -> None:
    assert express({12: 0.5}).side(12) == (0.5, 0.5)
    assert express({12: 0.5}).side(6) == (0.0, 0.0)
