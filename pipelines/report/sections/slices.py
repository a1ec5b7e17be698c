"""Accuracy of the selected network on slices: dark, low-contrast, blurred or gray pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from pipelines.core.results import Evaluation
from pipelines.report import charts
from pipelines.report.charts import responsive
from pipelines.report.inputs import Inputs
from pipelines.report.page import Heading, Section, absent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SLICES = Heading("slices", "Accuracy by slice", "Slices")
_ORDER = ("low", "middle", "high", "color", "gray")
_WORDS = {
    ("brightness", "low"): "dark",
    ("brightness", "high"): "bright",
    ("contrast", "low"): "flat",
    ("contrast", "high"): "strong",
    ("sharpness", "low"): "soft",
    ("sharpness", "high"): "sharp",
}


def section(inputs: Inputs) -> Section:
    """Show the accuracy of the selected network by slice, with the other networks in the background."""
    selected = inputs.selected
    if selected is None or selected.metrics is None:
        return absent(_SLICES, lacks="The selected model's metrics", stage="evaluate compare")
    rows = _rows(selected.metrics)
    others = [
        _rows(model.metrics)
        for model in inputs.compared
        if model.metrics is not None and model is not selected
    ]
    overall = selected.metrics.test.accuracy
    return Section(
        heading=_SLICES,
        context={
            "title": selected.title,
            "overall": overall,
            "rows": rows,
            "weakest": min(rows, key=lambda row: row.accuracy, default=None),
            "crops": selected.metrics.crops,
            "chart": _dots(rows, others, overall or 0.0) if rows else None,
        },
    )


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A slice that has pictures."""

    kind: str
    part: str
    name: str
    """Of the part, for people."""
    images: int
    accuracy: float
    macro_f1: float | None


def _rows(evaluation: Evaluation) -> list[_Row]:
    return [
        _Row(
            kind=kind,
            part=part,
            name=_WORDS.get((kind, part), part),
            images=scores.images,
            accuracy=scores.accuracy,
            macro_f1=scores.macro_f1,
        )
        for kind, parts in evaluation.slices.items()
        for part, scores in sorted(parts.items(), key=lambda item: _ORDER.index(item[0]))
        if scores.accuracy is not None
    ]


def _dots(rows: Sequence[_Row], others: Sequence[Sequence[_Row]], overall: float) -> Markup:
    """Draw one row per slice, with space between kinds of slice."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    places = {(row.kind, row.part): index + 0.9 * kinds.index(row.kind) for index, row in enumerate(rows)}

    def draw(figure: Figure) -> None:
        from matplotlib.ticker import PercentFormatter

        axes = figure.subplots()
        axes.axvline(overall, color=charts.ACCENT, linewidth=1, linestyle=(0, (3, 3)))
        for other in others:
            known = [row for row in other if (row.kind, row.part) in places]
            axes.plot(
                [row.accuracy for row in known],
                [places[row.kind, row.part] for row in known],
                "o",
                color=charts.FAINT,
                alpha=0.5,
                markersize=5,
                markeredgewidth=0,
            )
        spots = [places[row.kind, row.part] for row in rows]
        axes.plot(
            [row.accuracy for row in rows],
            spots,
            "o",
            color=charts.ACCENT,
            markersize=10,
            markeredgecolor=charts.CARD,
            markeredgewidth=1.5,
        )
        axes.set_yticks(spots, [f"{row.kind}: {row.name}" for row in rows], color=charts.INK)
        axes.set(ylim=(max(spots) + 0.7, -0.7), xlabel="accuracy")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        charts.only_vertical_grid(axes)

    height = 60 + round(27 * (max(places.values()) + 1))
    return responsive(
        "slices",
        draw,
        wide=(600, height),
        narrow=(340, height),
        alt="Accuracy by slice: " + ", ".join(f"{row.kind} {row.name} {row.accuracy:.2f}" for row in rows),
    )
