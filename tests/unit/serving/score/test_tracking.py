"""Boxes to tracks: overlap, assignment, people who cross, vanish, come back or move fast."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.score.video.tracking import (
    MAX_GAP_S,
    Tracker,
    assign,
    cosine_distances,
    overlaps,
)

Array = NDArray[np.float64]
STEP_S = 0.2
ANNA, BEN = np.eye(4)[0], np.eye(4)[1]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0, 0, 10, 10), 1.0),
        ((5, 0, 10, 10), 50 / 150),
        ((5, 5, 10, 10), 25 / 175),
        ((2, 2, 5, 5), 25 / 100),
        ((10, 0, 10, 10), 0.0),
        ((30, 30, 1, 1), 0.0),
    ],
)
def test_overlap_by_hand(other: tuple[float, ...], expected: float) -> None:
    box = np.array([[0.0, 0, 10, 10]])
    assert overlaps(box, np.array([other], float)) == pytest.approx(np.array([[expected]]))


def test_cosine_distances_by_hand() -> None:
    left, right = np.array([[1.0, 0], [3, 3]]), np.array([[2.0, 0], [0, 5], [0, 0]])
    root = 1 - np.sqrt(0.5)
    assert cosine_distances(left, right) == pytest.approx(np.array([[0, 1, 1], [root, root, 1]]))


def best_of_all(cost: Array) -> tuple[int, float]:
    """Most pairs and the lowest cost with as many, by trying every assignment."""
    if cost.shape[0] > cost.shape[1]:
        cost = cost.T
    found = []
    for columns in permutations(range(cost.shape[1]), cost.shape[0]):
        chosen = cost[np.arange(len(cost)), list(columns)]
        allowed = chosen[np.isfinite(chosen)]
        found.append((-len(allowed), float(allowed.sum())))
    pairs, total = min(found)
    return -pairs, total


@pytest.mark.parametrize("seed", range(20))
def test_an_assignment_has_most_pairs_at_the_lowest_cost(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost = rng.uniform(0, 2, rng.integers(1, 6, 2))
    cost[rng.random(cost.shape) < 0.4] = np.inf
    pairs = assign(cost)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert (len(pairs), sum(cost[pair] for pair in pairs)) == pytest.approx(best_of_all(cost))


def followed(
    *ways: Callable[[int], tuple[float, float] | None],
    faces: tuple[Array, ...] = (ANNA, BEN),
    steps: int = 30,
    side: float = 100,
) -> list[list[int]]:
    """Tracks of each person, by what `ways` says of where the middle of each face is."""
    tracker, found = Tracker(), [list[int]() for _ in ways]
    for step in range(steps):
        seen = [(person, place) for person, way in enumerate(ways) if (place := way(step)) is not None]
        # Detectors give faces in any order.
        seen = seen[::-1] if step % 2 else seen
        boxes = np.array([(x - side / 2, y - side / 2, side, side) for _, (x, y) in seen]).reshape(-1, 4)
        embeddings = np.array([faces[person] for person, _ in seen]).reshape(-1, 4)
        for (person, _), track in zip(seen, tracker.update(step * STEP_S, boxes, embeddings), strict=True):
            found[person].append(int(track))
    return found


def test_people_who_cross_keep_their_numbers() -> None:
    anna, ben = followed(lambda step: (100 + 20 * step, 200), lambda step: (700 - 20 * step, 210))
    assert (set(anna), set(ben)) == ({1}, {2})


def test_people_who_look_alike_keep_their_numbers_when_they_cross() -> None:
    anna, ben = followed(
        lambda step: (100 + 20 * step, 200), lambda step: (700 - 20 * step, 210), faces=(ANNA, ANNA)
    )
    assert (set(anna), set(ben)) == ({1}, {2})


def test_appearance_decides_where_places_do_not() -> None:
    """Both stand still and close; for two frames the detector finds one box between them."""

    def anna(step: int) -> tuple[float, float] | None:
        return (200, 200)

    def ben(step: int) -> tuple[float, float] | None:
        return None if step in (5, 6) else (230, 200)

    first, second = followed(anna, ben)
    assert (set(first), set(second)) == ({1}, {2})


def test_a_face_that_jumps_without_overlap_is_followed() -> None:
    (anna,) = followed(lambda step: (100 + 90 * step, 200), faces=(ANNA,))
    assert set(anna) == {1}


def test_a_gap_is_bridged_up_to_its_limit() -> None:
    missed = round(MAX_GAP_S / STEP_S)
    for gap, tracks in ((missed - 2, {1}), (missed + 1, {1, 2})):
        hidden = range(10, 10 + gap)

        def anna(step: int, hidden: range = hidden) -> tuple[float, float] | None:
            return None if step in hidden else (200 + 5 * step, 200)

        assert set(followed(anna, faces=(ANNA,))[0]) == tracks


def test_somebody_far_away_is_somebody_else_even_with_the_same_looks() -> None:
    (anna,) = followed(lambda step: (100, 200) if step < 10 else (900, 200), faces=(ANNA,))
    assert anna == [1] * 10 + [2] * 20


def test_a_face_of_another_size_is_somebody_else() -> None:
    tracker = Tracker()
    tracker.update(0.0, np.array([[0.0, 0, 100, 100]]), ANNA[None])
    assert tracker.update(0.2, np.array([[40.0, 40, 20, 20]]), ANNA[None]).tolist() == [2]


def test_frames_without_faces_change_nothing_but_time() -> None:
    tracker, nothing = Tracker(), np.empty((0, 4))
    assert tracker.update(0.0, nothing, nothing).tolist() == []
    box = np.array([[0.0, 0, 100, 100]])
    assert tracker.update(0.2, box, ANNA[None]).tolist() == [1]
    assert tracker.update(0.4, nothing, nothing).tolist() == []
    assert tracker.update(0.6, box, ANNA[None]).tolist() == [1]
    assert tracker.count == 1
