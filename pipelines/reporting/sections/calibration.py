"""Whether a probability means what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from pipelines.report import charts
from pipelines.report.charts import responsive
from pipelines.report.inputs import Inputs, ModelInputs
from pipelines.report.page import Section, absent

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_ID, _TITLE, _SHORT = "calibration", "Can the probabilities be believed?", "Calibration"


def section(inputs: Inputs) -> Section:
    """Reliability of the selected network, and every network's calibration error."""
    selected = inputs.selected
    if selected is None or selected.calibration is None or selected.metrics is None:
        return absent(
            _ID, _TITLE, short=_SHORT, lacks="The selected model's calibration", stage="evaluate compare"
        )
    scored = [(model, model.metrics["test"]["ece"]) for model in inputs.compared if model.metrics is not None]
    return Section(
        id=_ID,
        title=_TITLE,
        short=_SHORT,
        context={
            "title": selected.title,
            "error": selected.metrics["test"]["ece"],
            "export": selected.export,
            "models": [
                {"title": model.title, "error": error, "selected": model is selected}
                for model, error in sorted(scored, key=lambda item: (item[1] is None, item[1]))
            ],
            "chart": _reliability(selected, selected.calibration),
        },
    )


def _reliability(model: ModelInputs, bins: pd.DataFrame) -> Markup:
    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=charts.FAINT, linewidth=1, linestyle=(0, (3, 3)))
        upper.vlines(
            bins["confidence"],
            bins["confidence"],
            bins["accuracy"],
            color=charts.SECOND,
            linewidth=3,
            alpha=0.6,
        )
        upper.plot(
            bins["confidence"],
            bins["accuracy"],
            "-o",
            color=charts.ACCENT,
            markersize=6,
            markeredgecolor=charts.CARD,
        )
        upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that is right")
        lower.bar(bins["confidence"], bins["images"], width=0.045, color=charts.FAINT)
        lower.set(xlabel="probability of the answer", ylabel="pictures")
        charts.only_horizontal_grid(lower)

    return responsive(
        "reliability",
        draw,
        wide=(520, 400),
        narrow=(330, 340),
        alt=f"{model.title}: share of right answers against their probability, in {len(bins)} bins",
    )
