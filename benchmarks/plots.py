"""Plots of docs/benchmarks.md: SVG whose colours follow the reader's theme, light or dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers.results import Row, median
from pipelines.report.charts import (
    ACCENT,
    FAINT,
    INK,
    LINE,
    SECOND,
    SMALL_PX,
    SOFT,
    Draw,
    chart,
    only_vertical_grid,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The report's colours. A picture in a page cannot see the page's own switch, so it has a ground of its own.
_NAMES = ("card", "ink", "soft", "faint", "line", "accent", "second")
_LIGHT = ("#fffefc", "#1b2126", "#58626b", "#8b949c", "#e3e1da", "#0b6e64", "#c9702b")
_DARK = ("#1a1e21", "#eceae5", "#a5adb4", "#78818a", "#2b3136", "#55c5b5", "#eb9f5e")
_MARGIN_PX = 14
_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_COLOURS = {"ours": ACCENT, "complete": FAINT, "bare": SECOND}
_BAR = 0.66
# Width of a character on the logarithmic axis of milliseconds: 6.5 px of 800 px that span a factor of 75.
_LOG_OF_CHARACTER = 6.5 / 800 * math.log(75)


def write_throughput(rows: Sequence[Row], path: Path) -> None:
    """Requests per second of every server, a column of bars for each number of clients."""
    most = max(max(row.per_s) for row in rows)
    clients = sorted({row.connections for row in rows})
    titles = list(dict.fromkeys(row.title for row in rows))

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(clients), sharex=True, sharey=True, squeeze=False)[0]
        for axes, connections in zip(panels, clients, strict=True):
            _bars(axes, [row for row in rows if row.connections == connections], titles, most=most)
            axes.set_title("1 client" if connections == 1 else f"{connections} clients")
            axes.set_xlabel("requests per second")

    height = 90 + 30 * len(titles)
    alt = "Requests per second of this service and of others, by number of clients"
    write_svg(path, "throughput", draw, size=(900, height), alt=alt)


def _bars(axes: Axes, rows: Sequence[Row], titles: Sequence[str], *, most: float) -> None:
    for row in rows:
        place = titles.index(row.title)
        middle = median(row.per_s)
        axes.barh(place, middle, height=_BAR, color=_COLOURS[row.kind])
        axes.plot([min(row.per_s), max(row.per_s)], [place, place], color=INK, linewidth=1)
        axes.text(max(row.per_s) + 0.02 * most, place, f"{middle:.0f}", va="center", fontsize=SMALL_PX)
    axes.set_yticks(range(len(titles)), [title.replace("`", "") for title in titles])
    axes.set_ylim(len(titles) - 0.4, -0.6)
    axes.set_xlim(0, 1.2 * most)
    only_vertical_grid(axes)


def write_models(rows: Sequence[Mapping[str, Any]], path: Path, *, classes: int) -> None:
    """Accuracy against latency of every model; a line joins each int8 model to its float model.

    Args:
        rows: of reports/comparison.json.
        path: SVG file.
        classes: their number, for the line of guessing.
    """
    by_name = {row["architecture"]: row for row in rows}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhline(1 / classes, color=FAINT, linewidth=1, linestyle=(0, (4, 4)))
        for row in rows:
            _model(axes, row, by_name.get(row["twin"] or ""))
        _name_twins(axes, [row for row in rows if not row["twin"]])
        axes.set_xscale("log")
        axes.set_xlabel("milliseconds for one picture, one thread, median (logarithmic)")
        axes.set_ylabel("accuracy on the test split, 95 % interval")
        axes.set_ylim(0, 1)
        _milliseconds(axes, [row["p50_ms"] for row in rows])
        axes.text(0.995, 1 / classes - 0.012, "guessing", transform=axes.get_yaxis_transform(), **_NOTE)
        _legend(axes)

    write_svg(
        path, "models", draw, size=(860, 470), alt="Accuracy against latency of every model, float and int8"
    )


_NOTE: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": SMALL_PX, "color": SOFT}


def _model(axes: Axes, row: Mapping[str, Any], twin: Mapping[str, Any] | None) -> None:
    x, y = row["p50_ms"], row["accuracy"]
    colour = SECOND if twin else ACCENT
    if twin:
        axes.plot([twin["p50_ms"], x], [twin["accuracy"], y], color=FAINT, linewidth=1, zorder=1)
    axes.plot([x, x], [row["accuracy_low"], row["accuracy_high"]], color=colour, linewidth=1.2, alpha=0.6)
    axes.plot([x], [y], marker="s" if twin else "o", markersize=7, color=colour, linestyle="none")


def _name_twins(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Names above the intervals; one that would lie on another is lifted, with a line down to its point."""
    placed: list[tuple[float, float, int]] = []
    for row in sorted(rows, key=lambda row: row["p50_ms"]):
        x, height, name = row["p50_ms"], row["accuracy_high"] + 0.03, row["architecture"]
        while any(
            abs(math.log(x / other)) < _LOG_OF_CHARACTER * (len(name) + length) / 2
            and abs(height - taken) < 0.05
            for other, taken, length in placed
        ):
            height += 0.05
        placed.append((x, height, len(name)))
        axes.plot([x, x], [row["accuracy_high"], height - 0.004], color=LINE, linewidth=1, zorder=0)
        axes.text(x, height, name, ha="center", va="bottom", fontsize=SMALL_PX)


def _milliseconds(axes: Axes, values: Sequence[float]) -> None:
    ticks = [
        tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if min(values) / 2 < tick < 2 * max(values)
    ]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(min(values) / 1.5, max(values) * 1.6)


def _legend(axes: Axes) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], marker=marker, color=colour, linestyle="none", markersize=7, label=label)
        for marker, colour, label in (("o", ACCENT, "float32"), ("s", SECOND, "int8"))
    ]
    axes.legend(handles=marks, loc="upper right", labelcolor=INK)


def write_svg(path: Path, name: str, draw: Draw, *, size: tuple[int, int], alt: str) -> None:
    """Write one plot.

    Args:
        path: SVG file; its folder is made.
        name: ids inside the file start from it.
        draw: fills the empty figure.
        size: width and height, CSS px.
        alt: text alternative.
    """
    width, height = size
    inner = str(chart(name, draw, width=width, height=height, alt=alt))
    body = inner[inner.index(">") + 1 : inner.rindex("</svg>")]
    width, height = width + 2 * _MARGIN_PX, height + 2 * _MARGIN_PX
    light, dark = _variables(_LIGHT), _variables(_DARK)
    style = f":root{{{light};font-family:{_FONT}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{alt}" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"><style>{style}</style>'
        f'<rect width="{width}" height="{height}" rx="8" style="fill:var(--card)"/>'
        f'<g transform="translate({_MARGIN_PX} {_MARGIN_PX})">{body}</g></svg>\n',
        encoding="utf-8",
    )


def _variables(colours: Sequence[str]) -> str:
    return ";".join(f"--{name}:{colour}" for name, colour in zip(_NAMES, colours, strict=True))
