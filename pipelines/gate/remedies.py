"""Remedies for the reasons for which the quality gate rejects or holds a model."""

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
    "min_slice_accuracy": "add pictures like those of {label} to the data; check gate.slice_images",
    "min_class_recall": "look at the mistakes of {label} in the report; add pictures of {label}",
    "min_corrupted_accuracy": "train with stronger augmentation, or on pictures with the weaknesses that the "
    "report shows under Robustness",
    "production": "promote another version, or remove the alias production (docs/promotion.md)",
    **dict.fromkeys(
        (f"max_{name}_drop" for name in METRICS),
        "keep the production model, or train longer (models.{architecture}.epochs)",
    ),
    "max_class_recall_drop": "look at the mistakes of {label} in the report; add pictures of {label}",
    "max_slice_accuracy_drop": "keep the production model, or add pictures like those of {label} to the data",
    "max_corrupted_accuracy_drop": "keep the production model, or train with stronger augmentation",
    "max_attribute_gap": "add pictures of the groups with the lowest accuracy (the report shows the groups)",
    "max_ece": "train with label smoothing, or on more pictures; calibration uses the validation split",
    "max_brier": "train longer (models.{architecture}.epochs) or on more pictures",
    "max_latency_ms": "set selection.max_latency_ms, so that a faster model is selected",
    "max_size_mb": "set selection.max_size_mb, so that a smaller model is selected",
}
"""Check of the gate → remedy. Every check of `pipelines.gate` has one (a test compares them)."""


_UNCLEAR = (
    "test on more pictures, of more people (prepare.test_fraction); "
    "or compare the two models yourself and promote the version (python -m pipelines.register.promote)"
)


def remedies(verdict: GateVerdict) -> Iterator[tuple[str, str]]:
    """Yield the reason and the remedy of each check that failed or, if the model is held, is unclear."""
    architecture = architecture_of(verdict.architecture)
    for check in verdict.checks:
        if not check.passed or (verdict.held and check.unclear):
            name, _, label = check.name.partition(".")
            remedy = _REMEDIES[name].format(architecture=architecture, label=label or "the weakest slice")
            if check.unclear:
                remedy = _UNCLEAR
            if check.threshold is not None:
                remedy += f"; or change the threshold gate.{name} deliberately"
            yield check.reason, remedy
