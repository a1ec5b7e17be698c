"""What of a verdict is put into tags and onto the page."""

from __future__ import annotations

from typing import Any

from pipelines.gate.noninferiority import Outcome
from pipelines.gate.record import GateVerdict, ProductionModel
from pipelines.gate.rules import judge
from pipelines.register.publish import truncated, verdict_page, verdict_tags
from tests.support import gate_scores, results

SCORES = {
    "accuracy": 0.7,
    "class_recall.angry": 0.50,
    "class_recall.happy": 0.90,
    "class_recall.sad": 0.70,
}
THEIRS = {
    "accuracy": 0.75,
    "class_recall.angry": 0.50,
    "class_recall.happy": 0.95,
    "class_recall.sad": 0.90,
}
CANDIDATE = gate_scores.candidate(SCORES, size_mb=1.25)


def verdict(*, sad: Outcome = "not worse", hold: bool = False, **thresholds: Any) -> GateVerdict:
    """Of a comparison in which the recall of `sad` may be worse or unclear."""
    outcomes: dict[str, Outcome] = {"accuracy": "not worse", "class_recall.sad": sad}
    outcomes |= {"class_recall.angry": "not worse", "class_recall.happy": "not worse"}
    production = gate_scores.production(SCORES, THEIRS, outcomes)
    checks = judge(CANDIDATE, production, gate_scores.gate_params(**thresholds))
    return results.verdict(checks, production=ProductionModel(version=3, sha256="b" * 64), hold=hold)


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
    lines = verdict_page(verdict(sad="worse", min_accuracy=0.5, max_class_recall_drop=0.1)).splitlines()
    assert lines[0] == "## Quality gate: FAILED, compared with production version 3"
    assert lines[2].startswith("* ✗ FAILED `max_class_recall_drop.sad`: recall of sad is 0.700 compared")
    assert all(line.startswith("* ✓ ") for line in lines[3:])


def test_page_lists_of_the_classes_that_passed_the_closest_to_failing() -> None:
    lines = verdict_page(verdict(min_class_recall=0.1, max_class_recall_drop=0.5)).splitlines()
    listed = [line for line in lines if "class_recall" in line]
    assert [line.split("`")[1] for line in listed] == ["min_class_recall.angry", "max_class_recall_drop.sad"]
    assert all(line.endswith("of 3)") for line in listed)


def test_page_lists_every_class_that_failed() -> None:
    failed = [line for line in verdict_page(verdict(min_class_recall=0.8)).splitlines() if "FAILED `" in line]
    assert [line.split("`")[1] for line in failed] == ["min_class_recall.angry", "min_class_recall.sad"]


def test_page_of_a_held_model_begins_with_what_is_unclear() -> None:
    held = verdict(sad="unclear", hold=True, min_accuracy=0.5, max_class_recall_drop=0.1)
    lines = verdict_page(held).splitlines()
    assert lines[0] == "## Quality gate: HELD, compared with production version 3"
    assert lines[2].startswith("* ? UNCLEAR `max_class_recall_drop.sad`")
    assert all(line.startswith("* ✓ ") for line in lines[3:])
    assert verdict_tags(held)["gate"] == "held"


def test_description_that_is_too_long_is_cut_after_a_line() -> None:
    text = "\n".join(f"line {index}" for index in range(1000))
    short = truncated(text)
    assert len(short) <= 5000
    *kept, empty, note = short.splitlines()
    assert kept == text.splitlines()[: len(kept)]
    assert empty == ""
    assert "card.md" in note
    assert truncated("short") == "short"
