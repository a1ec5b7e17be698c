"""What is labelled next: scores by hand, k-centre greedy by hand, no near-duplicates, the same each time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.observations.ranking import (
    NEAR_DUPLICATE,
    POOL,
    Embeddings,
    choose_next,
    informativeness,
    stack_embeddings,
)

NAN = math.nan


def at(*degrees: float, model: str = "a", length: float = 1.0) -> Embeddings:
    """Embeddings in a plane, by their angle: the cosine distance of two is 1 − cos of the angle between."""
    rows = [
        length * np.array([math.cos(math.radians(each)), math.sin(math.radians(each))]) for each in degrees
    ]
    return stack_embeddings([model] * len(rows), [row.astype(np.float16) for row in rows])


def equal(count: int) -> NDArray[np.float64]:
    return np.full(count, 0.5)


NONE = at()


def test_the_score_is_the_mean_of_what_is_known() -> None:
    scores = informativeness(
        entropy=np.array([0.0, math.log(7), math.log(7) / 2, math.log(2)]),
        classes=np.array([7, 7, 7, 2]),
        novelty=np.array([0.5, NAN, 0.9, 1.5]),
        disagreement=np.array([NAN, NAN, 0.4, 0.0]),
    )
    # (0 + 0.5)/2; 1 alone; (0.5 + 0.9 + 0.4)/3; novelty above 1 counts as 1: (1 + 1 + 0)/3.
    assert scores.tolist() == pytest.approx([0.25, 1.0, 0.6, 2 / 3])


def test_a_model_with_one_class_is_never_uncertain() -> None:
    none = np.array([NAN])
    assert informativeness(
        entropy=np.zeros(1), classes=np.array([1]), novelty=none, disagreement=none
    ).tolist() == [0.0]


def test_the_highest_score_comes_first_then_each_time_the_farthest() -> None:
    # Row 4 has the highest score. Farthest from 0° is 180°; then 90° (90° from both), then 270° as far as
    # 60° and 300° are nearer.
    embeddings = at(60, 90, 180, 270, 0)
    scores = np.array([0.5, 0.6, 0.7, 0.5, 0.9])
    assert choose_next(embeddings, scores, labelled=NONE, limit=4) == [4, 2, 1, 3]


def test_what_is_labelled_counts_as_a_centre() -> None:
    # 180° is the farthest from the labelled 0°; then 90° and 270° tie, and the higher score wins.
    scores = np.array([0.9, 0.5, 0.5, 0.6])
    assert choose_next(at(10, 180, 90, 270), scores, labelled=at(0), limit=3) == [1, 3, 2]


def test_the_choice_does_not_depend_on_the_length_of_embeddings() -> None:
    scores = np.array([0.9, 0.5, 0.5, 0.6])
    long = at(10, 180, 90, 270, length=300.0)
    assert choose_next(long, scores, labelled=at(0, length=0.01), limit=3) == [1, 3, 2]


def test_near_duplicates_of_chosen_and_labelled_ones_are_left_out() -> None:
    near = math.degrees(math.acos(1 - NEAR_DUPLICATE / 2))
    far = math.degrees(math.acos(1 - NEAR_DUPLICATE * 1.5))
    embeddings = at(0, near, 90, 90 + far, 180 - near)
    found = choose_next(embeddings, equal(5), labelled=at(180), limit=5)
    assert sorted(found) == [0, 2, 3]


def test_a_pool_full_of_duplicates_gives_way_to_the_next_best() -> None:
    copies = [0.0] * (POOL * 2)
    embeddings = at(*copies, 90)
    scores = np.array([1.0] * len(copies) + [0.1])
    assert choose_next(embeddings, scores, labelled=NONE, limit=2) == [0, len(copies)]


def test_diversity_decides_only_among_the_best_scores() -> None:
    # POOL similar pictures with high scores; the farthest one has the lowest and is outside of the pool.
    embeddings = at(*range(POOL), 180)
    scores = np.array([0.9 - 0.01 * number for number in range(POOL)] + [0.0])
    assert choose_next(embeddings, scores, labelled=at(45), limit=1) == [0]


def test_pictures_of_different_models_are_never_near_duplicates() -> None:
    one, other = at(0, 0), at(0, model="b")
    both = Embeddings(
        models=np.concatenate([one.models, other.models]),
        vectors=np.concatenate([one.vectors, other.vectors]),
    )
    assert choose_next(both, equal(3), labelled=NONE, limit=3) == [0, 2]


def test_models_may_have_features_of_different_length() -> None:
    first = np.array([1, 0], np.float16)
    second = np.array([1, 0, 0, 0], np.float16)
    labelled = stack_embeddings(["a"], [first])
    mixed = stack_embeddings(["a", "b"], [first, second])
    assert choose_next(mixed, equal(2), labelled=labelled, limit=2) == [1]


def test_zeros_and_values_that_are_not_finite_are_chosen_once() -> None:
    rows = [np.zeros(2, np.float16), np.array([NAN, 1], np.float16), np.array([math.inf, 1], np.float16)]
    embeddings = stack_embeddings(["a"] * 3, rows)
    assert np.isfinite(embeddings.vectors).all()
    # Both others become (0, 1).
    assert choose_next(embeddings, equal(3), labelled=NONE, limit=3) == [0, 1]


def test_there_may_be_nothing_to_choose_from() -> None:
    assert choose_next(NONE, equal(0), labelled=NONE, limit=3) == []


def test_the_same_rows_give_the_same_choice() -> None:
    random_numbers = np.random.default_rng(7)
    rows = list(random_numbers.normal(size=(200, 16)).astype(np.float16))
    embeddings = stack_embeddings(["a"] * 200, rows)
    scores = random_numbers.random(200)
    found = choose_next(embeddings, scores, labelled=embeddings[list(range(5))], limit=10)
    assert len(set(found)) == 10
    assert not set(found) & set(range(5))
    again = choose_next(
        stack_embeddings(["a"] * 200, rows), scores.copy(), labelled=embeddings[list(range(5))], limit=10
    )
    assert again == found
