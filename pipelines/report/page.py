"""Sections of the report's page, before they are rendered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Heading(NamedTuple):
    """Names of one section."""

    id: str
    """Anchor, and name of `templates/<id>.html.j2`."""
    title: str
    short: str
    """Title in the table of contents."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One heading with its content."""

    heading: Heading
    context: Mapping[str, Any] = field(default_factory=dict)
    """Variables of the template."""
    absent: str | None = None
    """Text shown instead of the content when the input does not exist."""


def absent(heading: Heading, *, lacks: str, stage: str) -> Section:
    """Make a section without content that says which input is missing.

    Args:
        heading: of the section.
        lacks: the input that does not exist.
        stage: stage of `dvc.yaml` that makes it.
    """
    return Section(heading=heading, absent=f"{lacks} does not exist yet; run `dvc repro {stage}` to make it.")
