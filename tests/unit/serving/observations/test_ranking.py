"""What is labelled next: scores and probabilities by hand, no near-duplicates, the same each time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from serving.observations.ranking import (
    NEAR_DUPLICATE,
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


def drawn_first(
    embeddings: Embeddings, scores: list[float], *, labelled: Embeddings, draws: int = 2000
) -> NDArray[np.int64]:
    """How often each row is the first of a draw."""
    firsts = [
        choose_next(embeddings, np.array(scores), labelled=labelled, limit=1, seed=seed)[0]
        for seed in range(draws)
    ]
    return np.bincount(firsts, minlength=len(embeddings))


def fits(counts: NDArray[np.int64], weights: list[float]) -> bool:
    """Whether counts are those of a draw with these weights, by a chi-squared test."""
    expected = np.array(weights) / sum(weights) * counts.sum()
    return bool(stats.chisquare(counts, expected).pvalue > 1e-3)


def test_without_labels_the_score_is_the_probability() -> None:
    assert fits(drawn_first(at(0, 90, 180), [0.2, 0.3, 0.5], labelled=NONE), [0.2, 0.3, 0.5])


def test_with_labels_it_is_the_score_times_the_cosine_distance() -> None:
    # From 0°: 1 − cos 90° = 1, 1 − cos 180° = 2, 1 − cos 60° = 0.5.
    counts = drawn_first(at(90, 180, 60), [0.4, 0.4, 0.8], labelled=at(0))
    assert fits(counts, [0.4, 0.8, 0.4])


def test_of_several_labelled_ones_the_nearest_counts() -> None:
    # 90° is 90° from both; 170° is 10° from 180°, whose distance is 1 − cos 10° = 0.0152.
    counts = drawn_first(at(90, 170), [0.5, 0.5], labelled=at(0, 180))
    assert fits(counts, [1.0, 1 - math.cos(math.radians(10))])


def test_what_is_chosen_counts_as_labelled() -> None:
    # 0.5° is a near-duplicate of 0°: of the two only one is ever drawn, and then 180°.
    for seed in range(50):
        found = choose_next(at(0, 0.5, 180), equal(3), labelled=NONE, limit=3, seed=seed)
        assert len(found) == 2
        assert 2 in found


def test_the_choice_does_not_depend_on_the_length_of_embeddings() -> None:
    scores = np.array([0.9, 0.5, 0.5, 0.6])
    found = choose_next(at(10, 180, 90, 270), scores, labelled=at(0), limit=3)
    long = choose_next(at(10, 180, 90, 270, length=300.0), scores, labelled=at(0, length=0.01), limit=3)
    assert long == found


def test_pictures_without_a_score_are_drawn_when_nothing_else_is_left() -> None:
    found = choose_next(at(0, 90, 180), np.array([0.0, 0.5, 0.0]), labelled=NONE, limit=3)
    assert found[0] == 1
    assert sorted(found) == [0, 1, 2]


def test_near_duplicates_of_chosen_and_labelled_ones_are_left_out() -> None:
    near = math.degrees(math.acos(1 - NEAR_DUPLICATE / 2))
    far = math.degrees(math.acos(1 - NEAR_DUPLICATE * 1.5))
    embeddings = at(0, near, 90, 90 + far, 180 - near)
    found = choose_next(embeddings, equal(5), labelled=at(180), limit=5)
    # One of the first two; both at 90°, which are not near enough; the last one is near the labelled one.
    assert len(set(found) & {0, 1}) == 1
    assert set(found) - {0, 1} == {2, 3}


def test_pictures_of_different_models_are_never_near_duplicates() -> None:
    one, other = at(0, 0), at(0, model="b")
    both = Embeddings(
        models=np.concatenate([one.models, other.models]),
        vectors=np.concatenate([one.vectors, other.vectors]),
    )
    found = choose_next(both, equal(3), labelled=NONE, limit=3)
    assert len(found) == 2
    assert 2 in found


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
    # Both others become (0, 1): one of them is drawn.
    found = choose_next(embeddings, equal(3), labelled=NONE, limit=3)
    assert len(found) == 2
    assert 0 in found


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
