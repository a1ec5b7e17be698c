"""Metrics of the selected network by group of people, and the largest gaps between groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from pipelines.metrics.attributes import AttributeScores, GroupScores, gaps_of, measures_of
from pipelines.metrics.bootstrap import IntervalEstimate
from pipelines.report import charts
from pipelines.report.charts import responsive
from pipelines.report.inputs import Inputs
from pipelines.report.page import Heading, Section, absent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEADING = Heading("groups", "Groups of people", "Groups")


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One group."""

    column: str
    value: str
    scores: GroupScores
    measures: Sequence[IntervalEstimate]


@dataclass(frozen=True, kw_only=True)
class _Gap:
    """The largest differences between the groups of one attribute."""

    column: str
    measures: Sequence[IntervalEstimate]


def section(inputs: Inputs) -> Section:
    """Show accuracy, recall and false-positive rate by attribute, with their intervals."""
    selected = inputs.selected
    if selected is None or selected.metrics is None:
        return absent(_HEADING, lacks="The selected model's metrics", stage="evaluate compare")
    attributes = selected.metrics.attributes or {}
    rows = [
        _Row(column=column, value=value, scores=scores, measures=measures_of(scores))
        for column, found in attributes.items()
        for value, scores in found.groups.items()
    ]
    gaps = [
        _Gap(column=column, measures=gaps_of(found)) for column, found in attributes.items() if found.gaps
    ]
    return Section(
        heading=_HEADING,
        context={
            "title": selected.title,
            "given": selected.metrics.attributes is not None,
            "rows": rows,
            "gaps": gaps,
            "widest": max(gaps, key=lambda gap: gap.measures[0].value or 0.0, default=None),
            "left_out": _left_out(attributes),
            "chart": _dots(rows, selected.metrics.test.accuracy or 0.0) if rows else None,
        },
    )


def _left_out(attributes: Mapping[str, AttributeScores]) -> list[str]:
    return [
        f"{column} {value} ({count})"
        for column, found in attributes.items()
        for value, count in found.left_out.items()
    ]


def _dots(rows: Sequence[_Row], overall: float) -> Markup:
    """Draw the accuracy of each group with its interval, with space between attributes."""
    columns = list(dict.fromkeys(row.column for row in rows))
    spots = [index + 0.9 * columns.index(row.column) for index, row in enumerate(rows)]

    def draw(figure: Figure) -> None:
        from matplotlib.ticker import MaxNLocator, PercentFormatter

        axes = figure.subplots()
        axes.axvline(overall, color=charts.ACCENT, linewidth=1, linestyle=(0, (3, 3)))
        for row, spot in zip(rows, spots, strict=True):
            _draw_estimate(axes, row.scores.accuracy, spot)
        axes.set_yticks(spots, [f"{row.column}: {row.value}" for row in rows], color=charts.INK)
        axes.set(ylim=(max(spots) + 0.7, -0.7), xlabel="accuracy")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        charts.only_vertical_grid(axes)

    height = 60 + round(27 * (max(spots) + 1))
    named = (f"{row.column} {row.value} {row.scores.accuracy.value}" for row in rows)
    return responsive(
        "groups",
        draw,
        wide=(600, height),
        narrow=(340, height),
        alt=f"Accuracy by group: {', '.join(named)}",
    )


def _draw_estimate(axes: Axes, estimate: IntervalEstimate, spot: float) -> None:
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [spot, spot], color=charts.FAINT, linewidth=3)
    if estimate.value is not None:
        axes.plot(
            [estimate.value],
            [spot],
            "o",
            color=charts.ACCENT,
            markersize=9,
            markeredgecolor=charts.CARD,
            markeredgewidth=1.5,
        )
