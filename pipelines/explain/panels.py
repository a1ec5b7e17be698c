"""Draws heatmaps on pictures, and arranges such tiles in a labelled grid, a PNG with reproducible bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from serving.contract.arrays import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TILE_PX = 192
"""Side of a tile: three times the sample profile's 64 px, large enough for a phone."""

_STRONGEST = 0.8
"""Opacity of the heat at 1."""
_SHADE = 0.6
"""How much of the picture's darkness stays in the heat's colour, so that eyes and mouth show through."""
_DARKEST, _LIGHTEST = 50, 225
"""Luminance of the gray picture beneath the heat, 0–255."""
_FLAT = 32.0
"""A picture whose luminance spans less than this is not spread further: it would be noise."""
_WEBP_QUALITY = 88
"""No artefact can be seen at this size, a third of a PNG's bytes."""


def tile(image: Image, *, side_px: int = TILE_PX) -> Image:
    """The picture at a tile's size, uint8 [side, side, 3]."""
    shrinking = image.shape[0] > side_px
    filter_ = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (side_px, side_px), interpolation=filter_), dtype=np.uint8)


def overlay(image: Image, heatmap: NDArray[np.float32], *, side_px: int = TILE_PX) -> Image:
    """Draw the heat over the picture in gray: cold is transparent, hot glows.

    Args:
        image: uint8 [h, w, 3], RGB.
        heatmap: float32 [rows, columns] in [0, 1], over the whole picture.
        side_px: of the result.

    Returns:
        uint8 [side, side, 3], RGB.
    """
    gray = _evened(cv2.cvtColor(tile(image, side_px=side_px), cv2.COLOR_RGB2GRAY))[..., np.newaxis]
    smooth = cv2.resize(heatmap, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    heat = np.clip(smooth, 0, 1).astype(np.float32)
    levels = np.rint(heat * 255).astype(np.uint8)
    color = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    color = color * (1 - _SHADE + _SHADE * gray / 255)
    opacity = _STRONGEST * heat[..., np.newaxis]
    return np.asarray(np.rint(gray * (1 - opacity) + color * opacity), dtype=np.uint8)


def _evened(gray: NDArray[Any]) -> NDArray[np.float32]:
    """Spread the luminance of a picture over a fixed range, so that heat shows as well on dark faces."""
    dark, light = np.percentile(gray, (2, 98))
    middle, span = float(dark + light) / 2, max(float(light - dark), _FLAT)
    spread = (gray.astype(np.float32) - middle) / span + 0.5
    return np.asarray(_DARKEST + (_LIGHTEST - _DARKEST) * np.clip(spread, 0, 1), dtype=np.float32)


def save_tile(image: Image, path: Path) -> None:
    """Write one tile as WebP; the same pixels give the same bytes."""
    from PIL import Image as Pillow

    Pillow.fromarray(image).save(path, format="WEBP", quality=_WEBP_QUALITY, method=4, exact=True)


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
    """One tile with the text under it."""

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
