"""Contact sheet of pictures whose labels are probably wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.core.io import replacing
from pipelines.core.source_images import read_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 8
_TILE_IN, _GAP_IN, _CAPTION_IN, _HEAD_IN = 1.35, 0.12, 0.36, 0.28
"""Inches: side of a tile, space around it, two lines above it, and the sheet's heading."""
_DPI = 110
_CAPTION_CHARACTERS = 12
"""Of a class: longer names would reach the caption of the next tile."""
_HEADING = "given label → suggested label and its probability, numbered as the rows of relabel.csv"
_HEADING_COLUMNS = 4
"""Tiles that are as wide as the heading."""
_GRAY = "0.4"


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

    columns = min(_COLUMNS, len(suspects))
    rows = -(-len(suspects) // columns)
    step_in, line_in = _TILE_IN + _GAP_IN, _TILE_IN + _GAP_IN + _CAPTION_IN
    width = max(columns, _HEADING_COLUMNS) * step_in + _GAP_IN
    height = _HEAD_IN + rows * line_in + _GAP_IN
    figure = Figure(figsize=(width, height), dpi=_DPI)
    figure.text(_GAP_IN / width, 1 - 0.12 / height, _HEADING, fontsize=8, va="top")
    for index, suspect in enumerate(suspects):
        row, column = divmod(index, columns)
        left, bottom = _GAP_IN + column * step_in, height - _HEAD_IN - (row + 1) * line_in
        place = figure.add_axes((left / width, bottom / height, _TILE_IN / width, _TILE_IN / height))
        place.imshow(read_image(suspect.locator, root))
        place.set_axis_off()
        _caption(figure, suspect, number=index + 1, x=left / width, y=(bottom + _TILE_IN + 0.05) / height)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _caption(figure: Figure, suspect: Suspect, *, number: int, x: float, y: float) -> None:
    """Write the given label, gray, above the suggested one; `x` and `y` are in [0, 1], from below left."""
    given = f"{number}  {_short(suspect.given)}\n"
    figure.text(x, y, given, fontsize=8, color=_GRAY, va="bottom")
    figure.text(
        x, y, f"→ {_short(suspect.suggested)} {_percent(suspect.probability)}", fontsize=8, va="bottom"
    )


def _percent(probability: float) -> str:
    """A percentage; a model is never certain, so that none is called 100 %."""
    return "> 99 %" if probability > 0.99 else f"{100 * probability:.0f} %"


def _short(text: str) -> str:
    return text if len(text) <= _CAPTION_CHARACTERS else f"{text[: _CAPTION_CHARACTERS - 1]}…"
