"""Every reason of the gate has something that can be done about it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pipelines.core.params import GateParams
from pipelines.gate import rules
from pipelines.gate.noninferiority import Outcome
from pipelines.gate.remedies import remedies
from tests.support import gate_scores
from tests.support.results import verdict

BAD = {
    "accuracy": 0.1,
    "macro_f1": 0.1,
    "class_recall.happy": 0.1,
    "class_recall.sad": math.nan,
    "slice_accuracy.brightness: low": 0.1,
    "ece": 0.9,
    "brier": 0.9,
    "corrupted_accuracy": 0.1,
    "attribute_gap.skin": 0.9,
}
GOOD = dict.fromkeys(BAD, 0.9)
OUTCOMES: dict[str, Outcome] = {
    "accuracy": "worse",
    "macro_f1": "worse",
    "class_recall.happy": "worse",
    "slice_accuracy.brightness: low": "unclear",
    "corrupted_accuracy": "worse",
}
COMPARED = gate_scores.production(BAD, GOOD, OUTCOMES)
UNUSABLE = rules.ProductionScores(version=3, compared=None, problem="production (version 3) cannot be loaded")
SET = {name: 0.5 for name in GateParams.model_fields if name.startswith(("min_", "max_"))}


@pytest.mark.parametrize("production", [None, COMPARED, UNUSABLE])
@pytest.mark.parametrize("without", [(), ("slice_accuracy.brightness: low", "attribute_gap.skin")])
def test_every_check_that_can_fail_has_a_remedy(
    production: rules.ProductionScores | None, without: tuple[str, ...]
) -> None:
    scores = {name: value for name, value in BAD.items() if name not in without}
    candidate = gate_scores.candidate(scores, latency_ms=900.0, size_mb=900.0, smoke="it answers NaN")
    checks = rules.judge(candidate, production, gate_scores.gate_params(**SET, on_unclear="fail"))
    failed = [check for check in checks if not check.passed]
    found = list(remedies(replace(verdict(checks), architecture="vgg-int8")))
    assert [reason for reason, _ in found] == [check.reason for check in failed]
    assert all(remedy and "{" not in remedy for _, remedy in found)
    assert any("models.vgg.epochs" in remedy for _, remedy in found)
    assert any("happy" in remedy for _, remedy in found)
    if production is None and not without:
        assert {check.name.partition(".")[0] for check in failed} >= {
            name for name in SET if not name.endswith("_drop")
        }


def test_held_model_has_a_remedy_for_what_is_unclear() -> None:
    candidate = gate_scores.candidate(GOOD)
    compared = gate_scores.production(GOOD, GOOD, {"accuracy": "unclear"})
    checks = rules.judge(candidate, compared, gate_scores.gate_params(max_accuracy_drop=0.02))
    [(reason, remedy)] = remedies(verdict(checks, hold=True))
    assert "unclear" in reason
    assert "pipelines.register.promote" in remedy
    assert list(remedies(verdict(checks))) == []
