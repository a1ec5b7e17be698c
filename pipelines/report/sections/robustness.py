"""Accuracy of the selected network on corrupted test pictures, by corruption and severity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from pipelines.core import paths
from pipelines.export.pictures import read_pictures
from pipelines.metrics.bootstrap import IntervalEstimate
from pipelines.report import charts
from pipelines.report.charts import responsive
from pipelines.report.formatting import data_uri, percent
from pipelines.report.inputs import Inputs
from pipelines.report.page import Heading, Section, absent
from pipelines.robustness.corruptions import CORRUPTIONS, SEVERITIES
from pipelines.robustness.record import Robustness

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEADING = Heading("robustness", "Robustness", "Robustness")
_NARROW_PX = 500
"""A narrower chart has two columns instead of four."""


@dataclass(frozen=True, kw_only=True)
class _Example:
    """One face, as it is or corrupted."""

    name: str
    uri: str


def section(inputs: Inputs) -> Section:
    """Show accuracy, corruption error and calibration on corrupted pictures, and what they look like."""
    found = inputs.robustness
    if found is None:
        return absent(_HEADING, lacks="`reports/robustness.json`", stage="robustness")
    titles = {model.name: model.title for model in (*inputs.models, *inputs.quantized)}
    return Section(
        heading=_HEADING,
        context={
            "title": titles.get(found.architecture, found.architecture),
            "found": found,
            "rows": [(name, found.corruptions[name]) for name in CORRUPTIONS],
            "severities": SEVERITIES,
            "chart": _multiples(found),
            "examples": _examples(inputs),
        },
    )


def _examples(inputs: Inputs) -> Sequence[_Example]:
    """The test face with the most confident right answer: as it is, and at every corruption's worst."""
    selected = inputs.selected
    if selected is None or selected.predictions is None:
        return ()
    right = selected.predictions[selected.predictions["label"] == selected.predictions["predicted"]]
    # The clearest face: a covered or blurred one would show less of what a corruption does.
    clearest = right.sort_values(["confidence", "path"])["path"].iloc[-1:]
    places = [inputs.root / paths.PREPARED / path for path in clearest]
    if not places or not places[0].exists():
        return ()
    image = read_pictures(places)[0]
    damaged = [(name, corrupt(image, SEVERITIES[-1])) for name, corrupt in CORRUPTIONS.items()]
    return [_Example(name=name, uri=data_uri(one)) for name, one in (("as it is", image), *damaged)]


def _multiples(found: Robustness) -> Markup:
    """Draw one small chart per corruption: accuracy with its interval over the severities, 0 is clean."""

    def draw(figure: Figure) -> None:
        from matplotlib.ticker import PercentFormatter

        columns = 2 if figure.get_figwidth() * figure.dpi < _NARROW_PX else 4
        grid = figure.subplots(len(CORRUPTIONS) // columns, columns, sharex=True, sharey=True, squeeze=False)
        for axes, name in zip(grid.flat, CORRUPTIONS, strict=True):
            _draw_corruption(axes, (found.clean_accuracy, *found.corruptions[name]))
            axes.set_title(name)
        lowest = min(one.low or one.value or 0.0 for name in CORRUPTIONS for one in found.corruptions[name])
        first = grid[0, 0]
        first.set(ylim=(max(0.0, np.floor(lowest * 10 - 0.5) / 10), 1.02), xlim=(-0.3, len(SEVERITIES) + 0.3))
        first.set_xticks([0, *SEVERITIES], ["clean", *map(str, SEVERITIES)])
        first.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))

    named = (
        f"{name} {', '.join(percent(one.value, 0) for one in found.corruptions[name])}"
        for name in CORRUPTIONS
    )
    return responsive(
        "robustness",
        draw,
        wide=(860, 380),
        narrow=(340, 620),
        alt=f"Accuracy at severities 1, 2 and 3: {'; '.join(named)}; "
        f"without corruption {percent(found.clean_accuracy.value, 0)}",
    )


def _draw_corruption(axes: Axes, estimates: Sequence[IntervalEstimate]) -> None:
    places = range(len(estimates))
    values = [one.value or 0.0 for one in estimates]
    for place, one in zip(places, estimates, strict=True):
        if one.low is not None and one.high is not None:
            axes.plot([place, place], [one.low, one.high], color=charts.FAINT, linewidth=3)
    axes.axhline(values[0], color=charts.SOFT, linewidth=1, linestyle=(0, (3, 3)))
    axes.plot(
        places,
        values,
        "o-",
        color=charts.ACCENT,
        linewidth=1.2,
        markersize=7,
        markeredgecolor=charts.CARD,
        markeredgewidth=1.2,
    )
    charts.only_horizontal_grid(axes)
