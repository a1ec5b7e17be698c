"""The gate's arithmetic and its sentences."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pipelines.core.errors import GateError
from pipelines.core.params import GateParams
from pipelines.gate.rules import (
    Candidate,
    Check,
    ProductionScores,
    Scores,
    judge,
    reasons,
    require_thresholds,
    score,
    thresholds_digest,
)

NOTHING = dict.fromkeys(GateParams.model_fields)
GOOD = Scores(overall={"accuracy": 0.80, "macro_f1": 0.75}, recall={"happy": 0.9, "sad": 0.7})
CANDIDATE = Candidate(scores=GOOD, latency_ms=5.0, measured="here", size_mb=2.0, smoke=None)


def thresholds(**values: float) -> GateParams:
    return GateParams.model_validate(NOTHING | values)


def failed(
    production: ProductionScores | None = None, candidate: Candidate = CANDIDATE, /, **values: float
) -> list[str]:
    return [check.name for check in judge(candidate, production, thresholds(**values)) if not check.passed]


def production(*, recall: dict[str, float] | None = None, **changes: float) -> ProductionScores:
    scores = Scores(overall={**GOOD.overall, **changes}, recall=recall or GOOD.recall)
    return ProductionScores(version=3, scores=scores)


def test_no_thresholds_is_an_error_not_a_pass() -> None:
    with pytest.raises(GateError, match=r"no thresholds.*set at least one under `gate`"):
        require_thresholds(thresholds())
    with pytest.raises(GateError):
        judge(CANDIDATE, None, thresholds())


@pytest.mark.parametrize(
    ("name", "just_met", "just_missed"),
    [
        ("min_accuracy", 0.80, 0.81),
        ("min_macro_f1", 0.75, 0.76),
        ("max_latency_ms", 5.0, 4.9),
        ("max_size_mb", 2.0, 1.9),
    ],
)
def test_floor_or_budget_is_met_at_its_very_value(name: str, just_met: float, just_missed: float) -> None:
    assert failed(**{name: just_met}) == []
    assert failed(**{name: just_missed}) == [name]


def test_every_class_needs_its_recall() -> None:
    assert failed(min_class_recall=0.7) == []
    assert failed(min_class_recall=0.8) == ["min_class_recall.sad"]


@pytest.mark.parametrize(
    ("theirs", "name", "drop"),
    [
        (production(accuracy=0.82), "max_accuracy_drop", 0.02),
        (production(macro_f1=0.78), "max_macro_f1_drop", 0.03),
        (production(recall={"happy": 0.9, "sad": 0.8}), "max_class_recall_drop", 0.1),
    ],
)
def test_drop_against_production_may_be_as_large_as_allowed(
    theirs: ProductionScores, name: str, drop: float
) -> None:
    assert failed(theirs, **{name: drop}) == []
    [check] = failed(theirs, **{name: drop - 0.001})
    assert check in (name, f"{name}.sad")


def test_better_than_production_in_all_but_one_class_is_not_enough() -> None:
    other = production(accuracy=0.5, macro_f1=0.5, recall={"happy": 0.1, "sad": 0.9})
    assert failed(other, max_accuracy_drop=0.0, max_class_recall_drop=0.1) == ["max_class_recall_drop.sad"]


def test_without_production_nothing_is_compared() -> None:
    checks = judge(CANDIDATE, None, thresholds(max_accuracy_drop=0.0))
    assert [check.name for check in checks] == ["smoke"]


def test_production_that_cannot_be_compared_fails_with_its_problem() -> None:
    broken = ProductionScores(
        version=3, scores=None, problem="production (version 3) has different classes (a, b)"
    )
    checks = judge(CANDIDATE, broken, thresholds(max_accuracy_drop=0.5))
    assert reasons(checks) == ["production (version 3) has different classes (a, b)"]


def test_production_that_cannot_be_compared_does_not_matter_to_floors_alone() -> None:
    broken = ProductionScores(version=3, scores=None, problem="gone")
    assert failed(broken, min_accuracy=0.5) == []


def test_smoke_failure_is_reported_in_its_own_words() -> None:
    checks = judge(replace(CANDIDATE, smoke="the file does not load"), None, thresholds(min_accuracy=0.1))
    assert reasons(checks) == ["the file does not load"]


def test_class_without_test_pictures_fails() -> None:
    scores = replace(GOOD, recall={"happy": 0.9, "sad": math.nan})
    checks = judge(replace(CANDIDATE, scores=scores), None, thresholds(min_class_recall=0.1))
    assert reasons(checks) == [
        "recall of sad is unknown because there are no test images of it, but at least 0.1 is required"
    ]


def test_every_check_carries_its_numbers() -> None:
    [check] = [
        check
        for check in judge(CANDIDATE, production(accuracy=0.9), thresholds(max_accuracy_drop=0.05))
        if check.name == "max_accuracy_drop"
    ]
    assert check == Check(
        name="max_accuracy_drop",
        value=0.8,
        threshold=0.05,
        production=0.9,
        passed=False,
        reason="accuracy is 0.800 compared with 0.900 in production, but a drop of at most 0.05 is allowed",
    )


def test_scores_count_by_name() -> None:
    labels = ["happy", "happy", "sad", "sad"]
    scores = score(labels, ["happy", "sad", "sad", "sad"], ["sad", "happy"])
    # happy: precision 1, recall 1/2, F1 2/3; sad: precision 2/3, recall 1, F1 4/5
    assert scores.overall["accuracy"] == 0.75
    assert scores.overall["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert scores.recall == {"happy": 0.5, "sad": 1.0}


def test_digest_changes_with_any_threshold() -> None:
    digests = {
        thresholds_digest(thresholds(**values))
        for values in ({"min_accuracy": 0.1}, {"min_accuracy": 0.2}, {"min_macro_f1": 0.1})
    }
    assert len(digests) == 3
