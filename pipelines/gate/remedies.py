"""Remedies for the reasons for which the quality gate rejects a model."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.core.variants import architecture_of
from pipelines.gate.record import GateVerdict
from pipelines.metrics import METRICS

_REMEDIES = {
    "smoke": "export it again: dvc repro --force --single-item export@{architecture}",
    **dict.fromkeys(
        (f"min_{name}" for name in METRICS), "train longer (models.{architecture}.epochs) or on more pictures"
    ),
    "min_class_recall": "look at the mistakes of {label} in the report; add pictures of {label}",
    "production": "promote another version, or remove the alias production (docs/promotion.md)",
    **dict.fromkeys(
        (f"max_{name}_drop" for name in METRICS),
        "keep the production model, or train longer (models.{architecture}.epochs)",
    ),
    "max_class_recall_drop": "look at the mistakes of {label} in the report; add pictures of {label}",
    "max_latency_ms": "set selection.max_latency_ms, so that a faster model is selected",
    "max_size_mb": "set selection.max_size_mb, so that a smaller model is selected",
}
"""Check of the gate → remedy. Every check of `pipelines.gate` has one (a test compares them)."""


def remedies(verdict: GateVerdict) -> Iterator[tuple[str, str]]:
    """Yield the reason and the remedy of each failed check."""
    architecture = architecture_of(verdict.architecture)
    for check in verdict.checks:
        if not check.passed:
            name, _, label = check.name.partition(".")
            remedy = _REMEDIES[name].format(architecture=architecture, label=label)
            if check.threshold is not None:
                remedy += f"; or change the threshold gate.{name} deliberately"
            yield check.reason, remedy
