"""Every reason of the gate has something that can be done about it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pipelines.core.params import GateParams
from pipelines.gate import rules
from pipelines.gate.remedies import remedies
from tests.support.results import verdict

GATED = ("accuracy", "macro_f1")
BAD = rules.Scores(overall=dict.fromkeys(GATED, 0.1), recall={"happy": 0.1, "sad": math.nan})
GOOD = rules.Scores(overall=dict.fromkeys(GATED, 0.9), recall={"happy": 0.9, "sad": 0.9})
PRODUCTION = rules.ProductionScores(version=3, scores=GOOD)
UNUSABLE = rules.ProductionScores(version=3, scores=None, problem="production (version 3) cannot be loaded")


@pytest.mark.parametrize("production", [None, PRODUCTION, UNUSABLE])
def test_every_check_that_can_fail_has_a_remedy(production: rules.ProductionScores | None) -> None:
    thresholds = GateParams(**dict.fromkeys(GateParams.model_fields, 0.5))
    candidate = rules.Candidate(
        scores=BAD, latency_ms=900.0, size_mb=900.0, smoke="it answers NaN", measured="today, here"
    )
    checks = rules.judge(candidate, production, thresholds)
    failed = [check for check in checks if not check.passed]
    found = list(remedies(replace(verdict(checks), architecture="vgg-int8")))
    assert [reason for reason, _ in found] == [check.reason for check in failed]
    assert all(remedy and "{" not in remedy for _, remedy in found)
    assert any("models.vgg.epochs" in remedy for _, remedy in found)
    assert any("happy" in remedy for _, remedy in found)
