"""Tests of a drop against a margin: Holm's and McNemar's by hand and SciPy, outcomes on pretended models."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipelines.gate.estimates import Pictures, measure
from pipelines.gate.noninferiority import Drop, drops, holm, mcnemar

CLASSES = tuple("abcdefg")
PEOPLE, EACH = 345, 3
MARGINS = {"accuracy": 0.02, "macro_f1": 0.02, **{f"class_recall.{name}": 0.15 for name in CLASSES}}


def sample(seed: int = 0) -> Pictures:
    """As many pictures and people as the sample's test split."""
    count = PEOPLE * EACH
    return Pictures(
        classes=CLASSES,
        actual=np.random.default_rng(seed).permutation(np.arange(count) % 7),
        groups=np.arange(count) // EACH,
        slices={},
    )


def good(shown: Pictures, seed: int = 1, right: float = 0.88) -> np.ndarray:
    random = np.random.default_rng(seed)
    wrong = (shown.actual + random.integers(1, 7, len(shown.actual))) % 7
    return np.where(random.random(len(wrong)) < right, shown.actual, wrong)


def compare(shown: Pictures, candidate: np.ndarray, production: np.ndarray) -> dict[str, Drop]:
    return drops(measure(shown, [candidate, production], samples=4000), MARGINS)


def test_holm_is_as_in_his_paper_s_rule() -> None:
    # 0.01·4; 0.02·3; max(0.03·2, 0.06); 0.04·1 below it.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_holm_rejects_what_the_step_down_procedure_rejects(seed: int) -> None:
    p_values = np.random.default_rng(seed).beta(0.3, 3, 9)
    rejected = set()
    for step, index in enumerate(np.argsort(p_values)):
        if p_values[index] > 0.025 / (9 - step):
            break
        rejected.add(int(index))
    assert {index for index, one in enumerate(holm(list(p_values))) if one <= 0.025} == rejected


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (0, 1), (3, 9), (40, 35), (400, 520), (7, 7)])
def test_mcnemar_is_scipys_binomial_test(better: int, worse: int) -> None:
    actual = np.zeros(better + worse + 5, dtype=int)
    candidate, production = actual.copy(), actual.copy()
    production[:better] = 1
    candidate[better : better + worse] = 1
    candidate[-2:] = production[-2:] = 1  # both wrong
    found = mcnemar(actual, candidate, production)
    assert (found.candidate, found.production) == (better, worse)
    expected = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert found.p == pytest.approx(expected)


def test_the_same_answers_are_not_worse() -> None:
    shown = sample()
    same = good(shown)
    assert {one.outcome for one in compare(shown, same, same).values()} == {"not worse"}


def test_labels_permuted_are_worse_in_every_metric() -> None:
    shown = sample()
    permuted = (good(shown, seed=2) + 1) % 7
    assert {one.outcome for one in compare(shown, permuted, good(shown)).values()} == {"worse"}


def test_a_collapsed_class_is_worse_in_that_class() -> None:
    shown = sample()
    production = good(shown)
    collapsed = production.copy()
    collapsed[collapsed == 2] = 3
    found = compare(shown, collapsed, production)
    assert found["class_recall.c"].outcome == "worse"
    assert found["accuracy"].outcome == found["macro_f1"].outcome == "worse"
    others = [f"class_recall.{name}" for name in CLASSES if name != "c"]
    assert {found[name].outcome for name in others} == {"not worse"}


def test_a_collapsed_class_that_accuracy_hides_is_found_by_its_recall() -> None:
    """Half of one class is lost and as many pictures of the others are gained."""
    shown = sample()
    production = good(shown)
    other = production.copy()
    lost = np.flatnonzero((shown.actual == 2) & (production == 2))[::2]
    gained = np.flatnonzero((shown.actual != 2) & (production != shown.actual))[: len(lost)]
    other[lost], other[gained] = 3, shown.actual[gained]
    found = compare(shown, other, production)
    assert abs(found["accuracy"].value) < 1e-9
    assert found["accuracy"].outcome != "worse"
    assert found["class_recall.c"].outcome == "worse"


def test_what_the_pictures_cannot_show_is_unclear_and_says_what_they_could() -> None:
    shown = sample()
    found = compare(shown, good(shown, seed=2), good(shown, seed=1))["accuracy"]
    assert found.low < 0.02 < found.high
    assert found.outcome == "unclear"
    assert found.smallest > 0.02 + (found.value - found.low)


def test_a_drop_of_the_smallest_size_is_worse() -> None:
    shown = sample()
    production = good(shown)
    right = np.flatnonzero(production == shown.actual)
    outcomes = []
    for lost in range(0, 90, 15):
        candidate = production.copy()
        candidate[right[:lost]] = (candidate[right[:lost]] + 1) % 7
        found = compare(shown, candidate, production)["accuracy"]
        outcomes.append((found.value >= found.smallest, found.outcome))
    assert {outcome for reached, outcome in outcomes if reached} == {"worse"}
    assert {True, False} == {reached for reached, _ in outcomes}


def test_few_people_with_a_class_cannot_show_that_it_is_not_worse() -> None:
    shown = Pictures(
        classes=("a", "b"),
        actual=np.array([0] * 300 + [1] * 8),
        groups=np.arange(308),
        slices={},
    )
    same = shown.actual.copy()
    margins = {"accuracy": 0.02, "class_recall.a": 0.15, "class_recall.b": 0.15}
    found = drops(measure(shown, [same, same], samples=4000), margins)
    assert {name: one.outcome for name, one in found.items()} == {
        "accuracy": "not worse",
        "class_recall.a": "not worse",
        "class_recall.b": "unclear",
    }


def test_a_class_without_pictures_is_left_out() -> None:
    shown = Pictures(classes=("a", "b", "c"), actual=np.array([0, 1] * 50), groups=np.arange(100), slices={})
    margins = {"class_recall.a": 0.1, "class_recall.c": 0.1}
    found = drops(measure(shown, [shown.actual, shown.actual], samples=1000), margins)
    assert set(found) == {"class_recall.a"}


def test_pictures_of_one_person_weigh_less_than_those_of_many() -> None:
    """All thirty lost pictures belong to two people, or each to another one."""
    count = 400
    production = np.zeros(count, dtype=int)
    candidate = production.copy()
    candidate[:30] = 1
    p_worse = []
    for groups in (np.arange(count) // 15, np.arange(count)):
        shown = Pictures(classes=("a", "b"), actual=production, groups=groups, slices={})
        found = drops(measure(shown, [candidate, production], samples=4000), {"accuracy": 0.02})
        p_worse.append(found["accuracy"].p_worse)
    assert p_worse[0] > 0.025 > p_worse[1]
