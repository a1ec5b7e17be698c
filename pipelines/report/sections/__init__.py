"""Sections of the report in page order; each is made by one function `(inputs) -> Section`."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.report.inputs import Inputs
from pipelines.report.page import Section
from pipelines.report.sections import (
    attributes,
    comparison,
    data,
    examples,
    headline,
    quality,
    robustness,
    slices,
    training,
)

_SECTIONS: tuple[Callable[[Inputs], Section], ...] = (
    comparison.section,
    quality.confusion_section,
    quality.roc_section,
    quality.calibration_section,
    slices.section,
    attributes.section,
    quality.unfamiliar_section,
    robustness.section,
    examples.mistakes_section,
    examples.heatmaps_section,
    training.training_section,
    training.weights_section,
    data.data_section,
    training.augmentation_section,
    data.preparation_section,
    data.validation_section,
    headline.card_section,
    data.parameters_section,
    headline.guide_section,
)


def all_sections(inputs: Inputs) -> list[Section]:
    """Make every section, including those whose input does not exist."""
    return [make(inputs) for make in _SECTIONS]
