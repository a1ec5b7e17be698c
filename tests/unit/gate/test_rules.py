"""The gate's rules and its sentences."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipelines.core.errors import GateError
from pipelines.gate.noninferiority import Outcome
from pipelines.gate.rules import (
    Candidate,
    Check,
    ProductionScores,
    judge,
    margins,
    reasons,
    require_thresholds,
    thresholds_digest,
)
from tests.support import gate_scores
from tests.support.gate_scores import gate_params

GOOD = {
    "accuracy": 0.80,
    "macro_f1": 0.75,
    "class_recall.happy": 0.9,
    "class_recall.sad": 0.7,
    "slice_accuracy.brightness: low": 0.65,
    "ece": 0.04,
    "brier": 0.31,
    "corrupted_accuracy": 0.60,
    "attribute_gap.skin": 0.07,
}
CANDIDATE = gate_scores.candidate(GOOD)
BROKEN = ProductionScores(
    version=3, compared=None, problem="production (version 3) has different classes (a, b)"
)


def failed(
    production: ProductionScores | None = None, candidate: Candidate = CANDIDATE, /, **values: Any
) -> list[str]:
    return [check.name for check in judge(candidate, production, gate_params(**values)) if not check.passed]


def production(**outcomes: Outcome) -> ProductionScores:
    """All of whose scores are 0.9; `happy` stands for `class_recall.happy`."""
    named = {{"happy": "class_recall.happy"}.get(name, name): one for name, one in outcomes.items()}
    return gate_scores.production(GOOD, dict.fromkeys(GOOD, 0.9), named)


def test_no_thresholds_is_an_error_not_a_pass() -> None:
    with pytest.raises(GateError, match=r"no thresholds.*set at least one under `gate`"):
        require_thresholds(gate_params(floors="bound", on_unclear="pass"))
    with pytest.raises(GateError):
        judge(CANDIDATE, None, gate_params())


@pytest.mark.parametrize(
    ("name", "just_met", "just_missed"),
    [
        ("min_accuracy", 0.80, 0.81),
        ("min_macro_f1", 0.75, 0.76),
        ("min_corrupted_accuracy", 0.60, 0.61),
        ("max_ece", 0.04, 0.039),
        ("max_brier", 0.31, 0.30),
        ("max_latency_ms", 5.0, 4.9),
        ("max_size_mb", 2.0, 1.9),
    ],
)
def test_limit_is_met_at_its_very_value(name: str, just_met: float, just_missed: float) -> None:
    assert failed(**{name: just_met}) == []
    assert failed(**{name: just_missed}) == [name]


@pytest.mark.parametrize(
    ("name", "just_met", "just_missed"),
    [
        ("min_accuracy", 0.77, 0.78),
        ("min_macro_f1", 0.72, 0.73),
        ("min_corrupted_accuracy", 0.57, 0.58),
        ("max_ece", 0.07, 0.069),
        ("max_brier", 0.34, 0.33),
    ],
)
def test_limit_can_hold_for_the_worse_end_of_the_interval(
    name: str, just_met: float, just_missed: float
) -> None:
    assert failed(**{name: just_met}, floors="bound") == []
    assert failed(**{name: just_missed}, floors="bound") == [name]


def test_every_class_and_every_slice_needs_its_floor() -> None:
    assert failed(min_class_recall=0.7, min_slice_accuracy=0.65) == []
    assert failed(min_class_recall=0.8) == ["min_class_recall.sad"]
    assert failed(min_slice_accuracy=0.7) == ["min_slice_accuracy.brightness: low"]


def test_every_attribute_keeps_to_its_gap() -> None:
    two = gate_scores.candidate(GOOD | {"attribute_gap.age": 0.12})
    assert failed(None, two, max_attribute_gap=0.12) == []
    assert failed(None, two, max_attribute_gap=0.1) == ["max_attribute_gap.age"]
    # Intervals reach 0.03 further.
    assert failed(None, two, max_attribute_gap=0.12, floors="bound") == ["max_attribute_gap.age"]
    assert failed(None, two, max_attribute_gap=0.15, floors="bound") == []


@pytest.mark.parametrize("name", ["min_slice_accuracy", "max_slice_accuracy_drop", "max_attribute_gap"])
def test_threshold_for_parts_without_any_part_fails(name: str) -> None:
    alone = gate_scores.candidate({"accuracy": 0.8})
    assert failed(None, alone, **{name: 0.1}) == [name]


@pytest.mark.parametrize(
    ("outcome", "on_unclear", "state"),
    [
        ("not worse", "fail", "passed"),
        ("worse", "pass", "failed"),
        ("unclear", "pass", "unclear"),
        ("unclear", "hold", "unclear"),
        ("unclear", "fail", "failed"),
    ],
)
def test_outcome_of_the_tests_decides(outcome: Outcome, on_unclear: str, state: str) -> None:
    checks = judge(
        CANDIDATE, production(accuracy=outcome), gate_params(max_accuracy_drop=0.1, on_unclear=on_unclear)
    )
    assert {check.name: check.state for check in checks} == {
        "smoke": "passed",
        "production": "passed",
        "max_accuracy_drop": state,
    }


def test_worse_in_one_class_is_enough() -> None:
    other = gate_scores.production(
        GOOD, dict.fromkeys(GOOD, 0.5), {"class_recall.happy": "not worse", "class_recall.sad": "worse"}
    )
    assert failed(other, max_class_recall_drop=0.1) == ["max_class_recall_drop.sad"]


def test_margins_belong_to_metrics_whose_drop_is_limited() -> None:
    assert margins(GOOD, gate_params(max_class_recall_drop=0.1, max_accuracy_drop=0.02)) == {
        "accuracy": 0.02,
        "class_recall.happy": 0.1,
        "class_recall.sad": 0.1,
    }
    assert margins(GOOD, gate_params(min_accuracy=0.5, max_ece=0.1)) == {}


def test_without_production_nothing_is_compared() -> None:
    checks = judge(CANDIDATE, None, gate_params(max_accuracy_drop=0.0))
    assert [check.name for check in checks] == ["smoke"]


def test_production_that_cannot_be_compared_fails_with_its_problem() -> None:
    checks = judge(CANDIDATE, BROKEN, gate_params(max_accuracy_drop=0.5))
    assert reasons(checks) == ["production (version 3) has different classes (a, b)"]


def test_production_that_cannot_be_compared_does_not_matter_to_floors_alone() -> None:
    assert failed(BROKEN, min_accuracy=0.5) == []


def test_smoke_failure_is_reported_in_its_own_words() -> None:
    broken = gate_scores.candidate(GOOD, smoke="the file does not load")
    assert reasons(judge(broken, None, gate_params(min_accuracy=0.1))) == ["the file does not load"]


def test_class_without_test_pictures_fails() -> None:
    unknown = gate_scores.candidate(GOOD | {"class_recall.sad": math.nan})
    checks = judge(unknown, production(happy="not worse"), gate_params(max_class_recall_drop=0.1))
    assert [check.name for check in checks if not check.passed] == ["max_class_recall_drop.sad"]
    [check] = [
        one for one in judge(unknown, None, gate_params(min_class_recall=0.1)) if one.name.endswith("sad")
    ]
    assert (check.passed, check.value, check.low, check.high) == (False, None, None, None)
    assert "no test images" in check.reason


@pytest.mark.parametrize("name", ["ece", "brier"])
def test_calibration_of_probabilities_that_are_not_finite_fails(name: str) -> None:
    unknown = gate_scores.candidate(GOOD | {name: math.nan})
    [_, check] = judge(unknown, None, gate_params(**{f"max_{name}": 0.5}))
    assert (check.name, check.passed, check.value) == (f"max_{name}", False, None)
    assert "not finite" in check.reason


def test_every_check_carries_its_numbers() -> None:
    other = production(accuracy="worse")
    gate = gate_params(max_accuracy_drop=0.05, min_accuracy=0.6)
    checks = {check.name: check for check in judge(CANDIDATE, other, gate)}
    assert other.compared is not None
    assert checks["max_accuracy_drop"] == Check(
        name="max_accuracy_drop",
        value=0.8,
        low=0.8 - gate_scores.DISTANCE,
        high=0.8 + gate_scores.DISTANCE,
        threshold=0.05,
        production=0.9,
        drop=other.compared.drops["accuracy"],
        passed=False,
        reason=(
            "accuracy is 0.800 compared with 0.900 in production, a change of -0.100 "
            "(95 % interval -0.130 to -0.070): "
            "the drop is larger than 0.05 (p = 0.001 after Holm's correction)"
        ),
    )
    assert checks["min_accuracy"].reason == (
        "accuracy is 0.800 (95 % interval 0.770–0.830), at least 0.6 is required"
    )
    assert checks["min_accuracy"].production == 0.9


def test_unclear_drop_says_what_could_be_shown() -> None:
    checks = judge(CANDIDATE, production(accuracy="unclear"), gate_params(max_accuracy_drop=0.1))
    [reason] = [check.reason for check in checks if check.unclear]
    assert "0.145" in reason


def test_digest_changes_with_any_parameter() -> None:
    changes: list[dict[str, Any]] = [
        {"min_accuracy": 0.1}, {"min_accuracy": 0.2}, {"min_macro_f1": 0.1}, {"on_unclear": "pass"},
    ]  # fmt: skip
    assert len({thresholds_digest(gate_params(**values)) for values in changes}) == len(changes)
