"""What the page is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Section:
    """One heading with what stands beneath it."""

    id: str
    """Anchor, and name of `templates/<id>.html.j2`."""
    title: str
    short: str
    """For the table of contents."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """For the template."""
    absent: str | None = None
    """Said in place of the content when the input is not there."""


def absent(id_: str, title: str, *, short: str, lacks: str, stage: str) -> Section:
    """A section that has nothing to show and says why.

    Args:
        id_: anchor.
        title: heading.
        short: for the table of contents.
        lacks: what is not there.
        stage: of `dvc.yaml`, that makes it.
    """
    return Section(
        id=id_, title=title, short=short, absent=f"{lacks} is not there yet; `dvc repro {stage}` makes it."
    )
