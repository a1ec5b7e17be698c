"""Tiles in a grid with words above and beside them, as one PNG whose bytes depend on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.explanation.drawing import TILE_PX
from serving.contract.arrays import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 100
_GAP_PX = 10
_MARGIN_PX = 18
_SIDE_PX = 150
"""Left of the grid, for the rows' names."""
_TITLE_PX = 74
_LINE_PX = 17
_INK, _QUIET, _GOOD, _BAD = "#16202c", "#5c6773", "#12715b", "#b3362b"
_TONES = {"good": _GOOD, "bad": _BAD, "plain": _INK}
_TYPE_PX = {"title": 19, "text": 13}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One tile with what is written under it."""

    image: Image
    """uint8 [TILE_PX, TILE_PX, 3]."""
    lines: tuple[str, ...] = ()
    tone: str = "plain"
    """Colour of the last line: `good`, `bad` or `plain`."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a panel and its name."""

    name: str
    """May hold line breaks; about 18 letters fit a line."""
    cells: tuple[Cell, ...]


def save_panel(path: Path, rows: Sequence[Row], *, title: str, subtitle: str) -> None:
    """Draw `rows` under a title, tiles pixel by pixel.

    Args:
        path: the PNG to write.
        rows: at least one, each with at least one cell.
        title: what the panel shows.
        subtitle: how to read it.
    """
    from matplotlib.figure import Figure

    columns = max(len(row.cells) for row in rows)
    heights = [_row_px(row) for row in rows]
    width = max(_SIDE_PX + _MARGIN_PX + columns * (TILE_PX + _GAP_PX), _words_px(title, subtitle))
    height = _TITLE_PX + sum(heights) + _MARGIN_PX
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    page = _Page(figure, width, height)
    page.text(_MARGIN_PX, 18, title, size_px=_TYPE_PX["title"], weight="bold")
    page.text(_MARGIN_PX, 46, subtitle, color=_QUIET)
    top = _TITLE_PX
    for row, row_height in zip(rows, heights, strict=True):
        _draw_row(page, row, top)
        top += row_height
    # Without the entry that names Matplotlib's version the same pixels give the same bytes.
    figure.savefig(path, format="png", metadata={"Software": None})


class _Page:
    """A figure addressed in px from its upper left corner."""

    def __init__(self, figure: Figure, width: int, height: int) -> None:
        self._figure, self._width, self._height = figure, width, height

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        color: str = _INK,
        size_px: int = _TYPE_PX["text"],
        weight: str = "normal",
        align: str = "left",
        valign: str = "top",
    ) -> None:
        self._figure.text(
            x / self._width,
            1 - y / self._height,
            words,
            color=color,
            # A type size is in points, 72 of which make an inch.
            fontsize=size_px * 72 / _DPI,
            fontweight=weight,
            ha=align,
            va=valign,
            parse_math=False,
        )

    def image(self, x: int, y: int, pixels: Image) -> None:
        # `figimage` neither scales nor filters; it counts rows from the bottom.
        self._figure.figimage(pixels, xo=x, yo=self._height - y - pixels.shape[0], origin="upper")


def _draw_row(page: _Page, row: Row, top: int) -> None:
    page.text(_MARGIN_PX, top + TILE_PX / 2, row.name, weight="bold", valign="center")
    for column, cell in enumerate(row.cells):
        left = _SIDE_PX + column * (TILE_PX + _GAP_PX)
        page.image(left, top, cell.image)
        for number, line in enumerate(cell.lines):
            last = number == len(cell.lines) - 1
            page.text(
                left + TILE_PX / 2,
                top + TILE_PX + 6 + number * _LINE_PX,
                line,
                color=_TONES[cell.tone] if last else _INK,
                weight="bold" if last and cell.tone != "plain" else "normal",
                align="center",
            )


def _row_px(row: Row) -> int:
    lines = max((len(cell.lines) for cell in row.cells), default=0)
    return TILE_PX + _GAP_PX + (lines * _LINE_PX + 8 if lines else 0)


def _words_px(title: str, subtitle: str) -> int:
    # DejaVu Sans takes about 0.6 of its size per letter (0.69 in bold): enough room for a lone column.
    return int(
        2 * _MARGIN_PX + max(len(title) * 0.69 * _TYPE_PX["title"], len(subtitle) * 0.6 * _TYPE_PX["text"])
    )
