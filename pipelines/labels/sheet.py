"""Contact sheet of pictures whose labels are probably wrong."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.core.io import replacing
from pipelines.core.source_images import read_image

_COLUMNS = 8
_TILE_IN = 1.35
"""Width of a tile, inches."""
_DPI = 110
_CAPTION_CHARACTERS = 20


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A picture whose label is probably wrong."""

    locator: str
    given: str
    suggested: str
    probability: float
    """Of the suggested class, 0–1."""


def write_sheet(path: Path, suspects: Sequence[Suspect], *, root: Path) -> None:
    """Write a PNG: every picture with its given and its suggested label, the most probable error first.

    Args:
        path: file to write.
        suspects: at least one.
        root: folder that locators are relative to.

    Raises:
        OSError: a picture cannot be read.
        OutputError: the file cannot be written.
    """
    # Not pyplot, whose global state is not needed here.
    from matplotlib.figure import Figure

    rows = -(-len(suspects) // _COLUMNS)
    columns = min(_COLUMNS, len(suspects))
    figure = Figure(figsize=(columns * _TILE_IN, rows * _TILE_IN * 1.42), dpi=_DPI, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, suspect in zip(axes, suspects, strict=False):
        place.imshow(read_image(suspect.locator, root))
        answer = f"{_short(suspect.suggested)} {suspect.probability:.0%}"
        place.set_title(f"{_short(suspect.given)}\n→ {answer}", fontsize=8)
    for place in axes:
        place.set_axis_off()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _short(text: str) -> str:
    return textwrap.shorten(text, _CAPTION_CHARACTERS, placeholder="…")
