"""How to read the figures, and what to do next."""

from __future__ import annotations

from pipelines.core.variants import architecture_of
from pipelines.report.inputs import Inputs
from pipelines.report.page import Section


def section(inputs: Inputs) -> Section:
    """Words only; the commands name what this run has."""
    selected = inputs.selected
    name = inputs.params.architectures[0] if selected is None else architecture_of(selected.name)
    return Section(
        id="guide",
        title="How to read this, and what next",
        short="What next",
        context={
            "architecture": name,
            "epochs": inputs.params.model(name).epochs,
            "classes": len(inputs.classes),
            "passed": None if inputs.gate is None else inputs.gate["passed"],
        },
    )
