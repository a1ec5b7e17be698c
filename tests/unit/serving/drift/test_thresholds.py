"""Thresholds by bootstrap: how they are set, and that they keep what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from serving.drift.thresholds import (
    JensenShannon,
    NormedWasserstein,
    Traffic,
    null_scores,
    simultaneous_quantiles,
    thresholds,
)

PEOPLE, PICTURES = 40, 6


def world(rng: np.random.Generator, people: int, *, alike: float) -> tuple[np.ndarray, np.ndarray]:
    """Values and people; `alike` is the share of a value's variance that is the person's."""
    persons = np.repeat(rng.normal(size=people), PICTURES)
    values = np.sqrt(alike) * persons + np.sqrt(1 - alike) * rng.normal(size=people * PICTURES)
    return values, np.repeat(np.arange(people), PICTURES)


def test_bounds_are_exceeded_together_no_oftener_than_wanted() -> None:
    # Two columns: their 95 % quantiles are 0.95 and 9.5, so both are made alike; at 90 % one row in ten has
    # its greater ratio beyond the bound.
    first = np.linspace(0, 1, 101)
    scores = np.stack([first, 10 * first[::-1]], axis=1)
    bounds = simultaneous_quantiles(scores, 0.9)
    assert bounds[1] == pytest.approx(10 * bounds[0])
    # |x − 1/2| exceeds 0.45 in a tenth of the rows, on either side.
    assert bounds[0] == pytest.approx(0.95, abs=0.01)
    assert (scores > bounds).any(axis=1).mean() == pytest.approx(0.1, abs=0.02)


def test_columns_that_move_together_cost_no_more_than_one() -> None:
    scores = np.random.default_rng(0).random((500, 1))
    alone = simultaneous_quantiles(scores, 0.95)
    assert simultaneous_quantiles(np.repeat(scores, 8, axis=1), 0.95) == pytest.approx(np.repeat(alone, 8))
    independent = np.random.default_rng(0).random((500, 8))
    assert (simultaneous_quantiles(independent, 0.95) > alone).all()


def test_a_column_that_never_moves_has_the_threshold_zero() -> None:
    scores = np.stack([np.zeros(50), np.linspace(0, 1, 50)], axis=1)
    assert simultaneous_quantiles(scores, 0.9)[0] == 0


def test_the_same_reference_gives_the_same_thresholds() -> None:
    values, people = world(np.random.default_rng(1), PEOPLE, alike=0.5)
    distances = {"x": NormedWasserstein(values)}
    traffic = Traffic(rows=100, per_person=PICTURES)
    first, second = (thresholds(distances, people, traffic, false_alarms=0.05, draws=200) for _ in range(2))
    assert first == second


def test_people_who_resemble_themselves_and_longer_visits_widen_thresholds() -> None:
    def threshold(alike: float, per_person: float) -> float:
        values, people = world(np.random.default_rng(2), PEOPLE, alike=alike)
        traffic = Traffic(rows=240, per_person=per_person)
        return thresholds({"x": NormedWasserstein(values)}, people, traffic, false_alarms=0.05, draws=400)[
            "x"
        ]

    assert threshold(0.9, PICTURES) > 1.5 * threshold(0.0, PICTURES)
    assert threshold(0.9, 24) > 1.2 * threshold(0.9, 1)


def test_windows_hold_visits_of_geometric_length_and_their_own_pictures() -> None:
    """The variance of a mean over visits is known; the distance between two points of mass is that mean."""
    people = np.arange(2)
    # Person 0 always shows 0, person 1 shows 1: a window's share of ones is the mean over its visits.
    rows, per_person = 400, 8.0
    scores = null_scores(
        {"x": NormedWasserstein(np.array([0.0, 1.0]))},
        people,
        Traffic(rows=rows, per_person=per_person),
        draws=4000,
    )
    # Of references of two people half have one of each, deviation 1/2: there the score is 2·|share − 1/2|.
    # Visits of geometric length with the mean m have a variance of the sum of n·(2m − 1)/4.
    deviation = 2 * np.sqrt((2 * per_person - 1) / (4 * rows))
    both = np.sort(scores[:, 0][scores[:, 0] < 1])
    assert len(both) / len(scores) == pytest.approx(0.5, abs=0.03)
    assert stats.kstest(both, stats.halfnorm(scale=deviation).cdf).statistic < 0.05


@pytest.mark.parametrize("alike", [0.0, 0.6])
def test_new_people_of_the_same_world_seldom_raise_the_alarm(alike: float) -> None:
    """Many references, one window each: as often as was asked for."""
    rng, alarms, rounds = np.random.default_rng(4), 0, 150
    for _ in range(rounds):
        values, people = world(rng, PEOPLE, alike=alike)
        classes = (values > 0).astype(np.intp)
        other, _ = world(rng, 20, alike=alike)
        limits = thresholds(
            {"x": NormedWasserstein(values), "class": JensenShannon(classes, 2)},
            people,
            Traffic(rows=len(other), per_person=PICTURES),
            false_alarms=0.1,
            draws=200,
        )
        score = stats.wasserstein_distance(values, other) / np.std(values)
        alarms += score >= limits["x"]
    # The other column and the varying lengths of visits take their part; five deviations of a binomial.
    assert alarms / rounds <= 0.1 + 5 * np.sqrt(0.1 * 0.9 / rounds)
