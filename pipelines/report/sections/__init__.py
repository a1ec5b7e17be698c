"""The report's sections in their order, one module each: `section(inputs) -> Section`."""

from __future__ import annotations

from pipelines.report.inputs import Inputs
from pipelines.report.page import Section
from pipelines.report.sections import comparison, data, examples, headline, quality, slices, training

_SECTIONS = (
    comparison,
    quality,
    quality,
    quality,
    slices,
    examples,
    examples,
    training,
    training,
    data,
    training,
    data,
    data,
    headline,
    data,
    headline,
)


def all_sections(inputs: Inputs) -> list[Section]:
    """Every section, those without input included."""
    return [module.section(inputs) for module in _SECTIONS]
