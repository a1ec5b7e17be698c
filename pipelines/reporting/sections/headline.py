"""The top of the page: which model, how good, and what the gate said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.core.lineage import UNKNOWN
from pipelines.gate.remedies import remedies
from pipelines.report.formatting import count
from pipelines.report.inputs import Inputs
from pipelines.report.model_card import is_sample
from pipelines.reporting.sections.heatmaps import hero
from pipelines.reporting.sections.weights import is_lacking

_FACES = 6
_HASH = 10
"""Digits of a hash that are shown: enough to find it."""


def headline(inputs: Inputs) -> Mapping[str, Any]:
    """Context of `templates/headline.html.j2`."""
    selected = inputs.selected
    metrics = None if selected is None else selected.metrics
    return {
        "title": None if selected is None else selected.title,
        "test": None if metrics is None else metrics["test"],
        "classes": inputs.classes,
        "gate": inputs.gate,
        "remedies": [] if inputs.gate is None else list(remedies(inputs.gate)),
        "earlier": inputs.earlier,
        "faces": hero(inputs, _FACES),
        "method": None if inputs.explanation is None else inputs.explanation["method"],
        "facts": _facts(inputs),
        "sample": inputs.manifest is not None and is_sample(inputs.manifest["source"]),
        "lacking": [model.title for model in inputs.models if is_lacking(inputs, model)],
        "warnings": _warnings(inputs),
    }


def _facts(inputs: Inputs) -> list[tuple[str, str]]:
    lineage = inputs.lineage
    facts = [("commit", _commit(lineage.commit, dirty=lineage.dirty))]
    if lineage.data != UNKNOWN:
        facts.append(("data", f"data.dvc {lineage.data[:_HASH]}"))
    if inputs.dataset is not None:
        facts.append(("dataset", inputs.dataset["dataset"][:_HASH]))
    if inputs.manifest is not None:
        facts.append(("pictures", _pictures(len(inputs.manifest), inputs.manifest["group"].nunique())))
    facts.append(("architectures", str(len(inputs.models))))
    facts.append(("seed", str(inputs.params.seed)))
    return facts


def _pictures(images: int, groups: int) -> str:
    return f"{count(images)} of {count(groups)} people" if groups < images else count(images)


def _commit(commit: str, *, dirty: bool) -> str:
    if commit == UNKNOWN:
        return "not a git checkout"
    return f"{commit[:_HASH]}, with uncommitted changes" if dirty else commit[:_HASH]


def _warnings(inputs: Inputs) -> list[str]:
    """Expectations that only warn and did not hold."""
    if inputs.validation is None:
        return []
    return [check["message"] for check in inputs.validation["checks"] if not check["passed"]]
