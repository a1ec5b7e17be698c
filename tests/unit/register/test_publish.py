"""What of a verdict is put into tags and onto the page."""

from __future__ import annotations

from pipelines.core.params import GateParams
from pipelines.gate.record import GateVerdict, ProductionModel
from pipelines.gate.rules import Candidate, ProductionScores, Scores, judge
from pipelines.register.publish import truncated, verdict_page, verdict_tags
from tests.support import results

RECALL = {"angry": 0.50, "happy": 0.90, "sad": 0.70}
THEIRS = {"angry": 0.50, "happy": 0.95, "sad": 0.90}
CANDIDATE = Candidate(
    scores=Scores(overall={"accuracy": 0.7, "macro_f1": 0.65}, recall=RECALL),
    latency_ms=2.5,
    measured="here",
    size_mb=1.25,
    smoke=None,
)
PRODUCTION = ProductionScores(
    version=3, scores=Scores(overall={"accuracy": 0.75, "macro_f1": 0.7}, recall=THEIRS)
)


def verdict(**thresholds: float) -> GateVerdict:
    params = GateParams.model_validate(dict.fromkeys(GateParams.model_fields) | thresholds)
    checks = judge(CANDIDATE, PRODUCTION, params)
    return results.verdict(checks, production=ProductionModel(version=3, sha256="b" * 64))


def test_tags_hold_the_class_nearest_to_failing() -> None:
    tags = verdict_tags(
        verdict(min_class_recall=0.1, max_class_recall_drop=0.5, max_size_mb=2.0, min_accuracy=0.5)
    )
    assert tags["gate.min_class_recall"] == "0.5 (angry)"
    assert tags["gate.max_class_recall_drop"] == "0.7 (sad)"
    assert tags["gate.max_size_mb"] == "1.25"
    assert tags["gate.min_accuracy"] == "0.7"
    assert tags["gate"] == "passed"


def test_page_begins_with_what_failed() -> None:
    lines = verdict_page(verdict(min_accuracy=0.5, max_class_recall_drop=0.1)).splitlines()
    assert lines[0] == "## Quality gate: FAILED, compared with production version 3"
    assert lines[2].startswith("* ✗ FAILED `max_class_recall_drop.sad`: recall of sad is 0.700 compared")
    assert all(line.startswith("* ✓ ") for line in lines[3:])


def test_description_that_is_too_long_is_cut_after_a_line() -> None:
    text = "\n".join(f"line {index}" for index in range(1000))
    short = truncated(text)
    assert len(short) <= 5000
    *kept, empty, note = short.splitlines()
    assert kept == text.splitlines()[: len(kept)]
    assert empty == ""
    assert "card.md" in note
    assert truncated("short") == "short"
