"""Remedies for the reasons for which the quality gate rejects a model."""

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
    "max_accuracy_drop": "keep the production model, or train longer (models.{architecture}.epochs)",
    "max_macro_f1_drop": "keep the production model, or train longer (models.{architecture}.epochs)",
    "max_class_recall_drop": "look at the mistakes of {label} in the report; add pictures of {label}",
    "max_latency_ms": "set selection.max_latency_ms, so that a faster model is selected",
    "max_size_mb": "set selection.max_size_mb, so that a smaller model is selected",
}
"""Check of the gate → remedy. Every check of `pipelines.gate` has one (a test compares them)."""


def remedies(verdict: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the reason and the remedy of each failed check.

    Args:
        verdict: content of `reports/gate.json`.
    """
    architecture = architecture_of(verdict["architecture"])
    for check in verdict["checks"]:
        if not check["passed"]:
            name, _, label = check["name"].partition(".")
            remedy = _REMEDIES[name].format(architecture=architecture, label=label)
            if check["threshold"] is not None:
                remedy += f"; or change the threshold gate.{name} deliberately"
            yield check["reason"], remedy
