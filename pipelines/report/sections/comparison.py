"""Comparison of all models: quality and latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from pipelines.core.results import ComparisonRow
from pipelines.metrics.summary import METRICS
from pipelines.report import charts
from pipelines.report.charts import Box, place_labels, responsive
from pipelines.report.inputs import Inputs
from pipelines.report.page import Heading, Section, absent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COMPARISON = Heading("comparison", "The comparison", "Comparison")
_LEAD_BOXES = 24


def section(inputs: Inputs) -> Section:
    """The table, best first, and accuracy against latency."""
    comparison = inputs.comparison
    if comparison is None:
        return absent(_COMPARISON, lacks="`reports/comparison.json`", stage="compare")
    metric = comparison.metric
    rows = sorted(comparison.rows, key=lambda row: -(row.score(metric).value or 0))
    # The metric that selects comes first.
    names = sorted((score.name for score in rows[0].scores()), key=lambda name: name != metric)
    timed = [row for row in rows if row.accuracy is not None]
    return Section(
        heading=_COMPARISON,
        context={
            "rows": [(row, [row.score(name) for name in names]) for row in rows],
            "metrics": [METRICS[name] for name in names],
            "selected": comparison.selected,
            "metric": METRICS[metric].title,
            "chance": 1 / len(inputs.classes) if inputs.classes else None,
            "limits": inputs.params.selection,
            "variants": comparison.variants,
            "timing": comparison.timing,
            "chart": _scatter(timed, comparison.selected) if timed else None,
        },
    )


def _scatter(rows: Sequence[ComparisonRow], selected: str) -> Markup:
    by_name = {row.architecture: row for row in rows}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for row in rows:
            _point(axes, row, chosen=row.architecture == selected)
            _lead(axes, row, by_name)
        axes.set_xscale("log")
        _scales(axes, rows)
        axes.set(xlabel="latency, ms (p50, one thread, log scale)", ylabel="test accuracy")
        # A line connects an int8 point with its float32 point, which has the label.
        named = [row for row in rows if row.twin is None or row.architecture == selected]
        _names(figure, axes, named, rows, selected)

    return responsive(
        "scatter",
        draw,
        wide=(960, 430),
        narrow=(340, 380),
        alt="Test accuracy with its 95 % interval against latency: "
        + ", ".join(f"{row.title} {_accuracy(row):.2f} at {row.p50_ms:.2f} ms" for row in rows),
    )


def _accuracy(row: ComparisonRow) -> float:
    """Return the accuracy of a row of the chart, which has only rows with one."""
    return row.accuracy or 0.0


def _point(axes: Axes, row: ComparisonRow, *, chosen: bool) -> None:
    low, high = row.accuracy_low, row.accuracy_high
    color = charts.ACCENT if chosen else charts.SOFT
    if low is not None and high is not None:
        axes.plot([row.p50_ms] * 2, [low, high], color=color, linewidth=2, alpha=0.45)
    axes.plot(
        row.p50_ms,
        _accuracy(row),
        "o",
        color=color if row.twin is None else charts.CARD,
        markersize=(11 if chosen else 8) - (2 if row.twin else 0),
        markeredgecolor=charts.CARD if row.twin is None else color,
        markeredgewidth=1.5,
    )


def _lead(axes: Axes, row: ComparisonRow, by_name: Mapping[str, ComparisonRow]) -> None:
    """Draw a line from the float32 point to its int8 point."""
    float_row = by_name.get(row.twin or "")
    if float_row is not None:
        ends = [(one.p50_ms, _accuracy(one)) for one in (float_row, row)]
        axes.plot(*zip(*ends, strict=True), color=charts.FAINT, linewidth=1, zorder=0)


def _scales(axes: Axes, rows: Sequence[ComparisonRow]) -> None:
    """Leave space for labels at the sides; plain numbers on the log scale, percent on the other."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

    fastest, slowest = min(row.p50_ms for row in rows), max(row.p50_ms for row in rows)
    axes.set_xlim(fastest / 1.9, slowest * 2.4)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.margins(y=0.1)


def _names(
    figure: Figure,
    axes: Axes,
    rows: Sequence[ComparisonRow],
    points_of: Sequence[ComparisonRow],
    selected: str,
) -> None:
    """Write each label at a free position; a thin line connects labels far from their point."""
    figure.draw_without_rendering()  # fixes the layout, so that data coordinates have positions in px
    # Keep this layout: the labels are placed for it.
    figure.set_layout_engine("none")
    texts = [
        axes.annotate(
            row.title,
            (0, 0),
            xycoords="figure pixels",
            annotation_clip=False,
            ha="center",
            va="center",
            color=charts.ACCENT if row.architecture == selected else charts.INK,
            weight="bold" if row.architecture == selected else "normal",
        )
        for row in rows
    ]
    extents = [text.get_window_extent() for text in texts]
    frame = axes.get_window_extent()
    points = [tuple(axes.transData.transform((row.p50_ms, _accuracy(row)))) for row in rows]
    placed = place_labels(
        points,
        [(extent.width + 4, extent.height) for extent in extents],
        bounds=Box(frame.x0, frame.y0, frame.x1, frame.y1),
        blocked=[*(_around(axes, row, radius=7) for row in points_of), *_along_leads(axes, points_of)],
        gap=9,
    )
    for text, box, point in zip(texts, placed, points, strict=True):
        center = ((box.left + box.right) / 2, (box.bottom + box.top) / 2)
        text.set_position(center)
        if _is_far(box, point, limit=16):
            end = (min(max(point[0], box.left), box.right), min(max(point[1], box.bottom), box.top))
            axes.annotate(
                "",
                point,
                end,
                xycoords="figure pixels",
                textcoords="figure pixels",
                arrowprops={"arrowstyle": "-", "color": charts.FAINT, "linewidth": 1, "shrinkB": 6},
            )


def _around(axes: Axes, row: ComparisonRow, *, radius: float) -> Box:
    """Box around a point and its whisker, px."""
    low, high = row.accuracy_low or _accuracy(row), row.accuracy_high or _accuracy(row)
    x, bottom = axes.transData.transform((row.p50_ms, low))
    _, top = axes.transData.transform((row.p50_ms, high))
    _, middle = axes.transData.transform((row.p50_ms, _accuracy(row)))
    return Box(x - radius, min(bottom, middle - radius), x + radius, max(top, middle + radius))


def _along_leads(axes: Axes, rows: Sequence[ComparisonRow]) -> list[Box]:
    """Small boxes on the lines from float32 to int8 points, px."""
    places = {row.architecture: axes.transData.transform((row.p50_ms, _accuracy(row))) for row in rows}
    ends = [(places[row.twin], places[row.architecture]) for row in rows if row.twin in places]
    spots = [
        start + (end - start) * step / _LEAD_BOXES for start, end in ends for step in range(1, _LEAD_BOXES)
    ]
    return [Box(x - 2, y - 2, x + 2, y + 2) for x, y in spots]


def _is_far(box: Box, point: tuple[float, float], *, limit: float) -> bool:
    across = max(box.left - point[0], point[0] - box.right, 0)
    along = max(box.bottom - point[1], point[1] - box.top, 0)
    return max(across, along) > limit
