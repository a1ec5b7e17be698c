"""The simulated models have the drops that their names say, and the gate's errors stay below their level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.gate_power import Bench, broken, candidates, decisions, errors
from pipelines.gate.estimates import LEVEL
from pipelines.metrics import accuracy, confusion_matrix, recall

LIMITS = {"accuracy": 0.02, "macro_f1": 0.02, "class_recall.happy": 0.15, "class_recall.sad": 0.15}


@pytest.fixture
def bench(repository: Path) -> Bench:
    return Bench.of_sample(repository)


def test_the_test_set_has_three_pictures_of_each_person(bench: Bench) -> None:
    _, counts = np.unique(bench.pictures.groups, return_counts=True)
    assert (len(counts), set(counts.tolist())) == (345, {3})


@pytest.mark.parametrize(("falls", "drop"), [({}, 0.0), ({"*": 0.04}, 0.04), ({"sad": 0.3}, 0.3 / 7)])
def test_a_candidate_has_the_drop_that_is_asked_for(
    bench: Bench, falls: dict[str, float], drop: float
) -> None:
    random, actual = np.random.default_rng(0), bench.pictures.actual
    found, recalls = [], []
    for _ in range(200):
        pair = bench.draw(random, falls)
        matrices = [confusion_matrix(actual, one, classes=7) for one in (pair.candidate, pair.production)]
        found.append(accuracy(matrices[1]) - accuracy(matrices[0]))
        recalls.append(recall(matrices[1]))
    assert np.mean(found) == pytest.approx(drop, abs=0.003)
    assert np.mean(recalls, axis=0) == pytest.approx(bench.recalls, abs=0.015)


def test_exchanged_answers_stay_with_their_person(bench: Bench) -> None:
    pair = bench.draw(np.random.default_rng(0), {})
    swapped = bench.exchanged(np.random.default_rng(1), pair)
    assert (swapped.candidate + swapped.production == pair.candidate + pair.production).all()
    changed = swapped.candidate != pair.candidate
    differs = pair.candidate != pair.production
    for person in np.unique(bench.pictures.groups[changed]):
        own = bench.pictures.groups == person
        assert (changed[own] == differs[own]).all()


def test_errors_stay_below_the_level(bench: Bench) -> None:
    for claim, count in errors(bench, LIMITS, permutations=200).items():
        assert stats.binomtest(count, 200).proportion_ci(0.99, method="exact").low <= LEVEL, claim


def test_a_drop_of_four_margins_is_worse_and_of_one_margin_does_not_pass(bench: Bench) -> None:
    falls = candidates(LIMITS)
    large = decisions(bench, LIMITS, falls["lower by four times the margin"], count=50)
    assert large["worse"] > 40
    small = decisions(bench, LIMITS, falls["lower by the margin"], count=50)
    assert small["not worse"] <= 4


def test_broken_models_are_worse_for_the_right_reasons(bench: Bench) -> None:
    found = {
        kind: {name for name, one in tests.items() if one.outcome == "worse"}
        for kind, tests in broken(bench, LIMITS)
    }
    assert found["labels permuted"] == set(LIMITS)
    assert found["class sad collapsed"] == {"accuracy", "macro_f1", "class_recall.sad"}
