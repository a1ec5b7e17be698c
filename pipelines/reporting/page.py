"""Sections → one HTML page."""

from __future__ import annotations

from pathlib import Path

import jinja2

from pipelines.reporting import words
from pipelines.reporting.inputs import Inputs
from pipelines.reporting.sections import all_sections
from pipelines.reporting.sections.headline import headline

_TEMPLATES = Path(__file__).parent / "templates"


def render(inputs: Inputs) -> str:
    """The whole report; equal inputs give equal text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        # A name the context lacks is a bug, not an empty place.
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": words.percent,
        "share": words.share,
        "count": words.count,
        "large": words.large,
        "measure": words.measure,
        "plain": words.plain,
    }
    environment.globals["plural"] = words.plural
    return environment.get_template("page.html.j2").render(
        sections=all_sections(inputs), headline=headline(inputs)
    )
