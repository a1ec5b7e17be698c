"""The report's sections in their order, one module each: `section(inputs) -> Section`."""

from __future__ import annotations

from pipelines.report.inputs import Inputs
from pipelines.report.page import Section
from pipelines.reporting.sections import (
    augmentation,
    calibration,
    card,
    comparison,
    confusion,
    data,
    guide,
    heatmaps,
    mistakes,
    parameters,
    preparation,
    roc,
    slices,
    training,
    validation,
    weights,
)

_SECTIONS = (
    comparison,
    confusion,
    roc,
    calibration,
    slices,
    mistakes,
    heatmaps,
    training,
    weights,
    data,
    augmentation,
    preparation,
    validation,
    card,
    parameters,
    guide,
)


def all_sections(inputs: Inputs) -> list[Section]:
    """Every section, those without input included."""
    return [module.section(inputs) for module in _SECTIONS]
