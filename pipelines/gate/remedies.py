"""What to do about each reason for which the gate rejects a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.core.variants import architecture_of

_REMEDIES = {
    "smoke": "export it again: dvc repro --force --single-item export@{architecture}",
    "min_accuracy": "train longer (models.{architecture}.epochs) or on more pictures",
    "min_macro_f1": "train longer (models.{architecture}.epochs) or on more pictures",
    "min_class_recall": "look at the mistakes of {label} in the report; add pictures of {label}",
    "production": "promote another version, or remove the alias production (docs/promotion.md)",
    "max_accuracy_drop": "leave production where it is, or train longer (models.{architecture}.epochs)",
    "max_macro_f1_drop": "leave production where it is, or train longer (models.{architecture}.epochs)",
    "max_class_recall_drop": "look at the mistakes of {label} in the report; add pictures of {label}",
    "max_latency_ms": "set selection.max_latency_ms, so that a faster model is selected",
    "max_size_mb": "set selection.max_size_mb, so that a smaller model is selected",
}
"""Question of the gate → what helps. Every question of `pipelines.gate` has one (a test compares them)."""


def remedies(verdict: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """For each check that failed: the reason, and what to do.

    Args:
        verdict: what `reports/gate.json` says.
    """
    architecture = architecture_of(verdict["architecture"])
    for check in verdict["checks"]:
        if not check["passed"]:
            question, _, label = check["name"].partition(".")
            remedy = _REMEDIES[question].format(architecture=architecture, label=label)
            if check["threshold"] is not None:
                remedy += f"; or change gate.{question} on purpose"
            yield check["reason"], remedy
