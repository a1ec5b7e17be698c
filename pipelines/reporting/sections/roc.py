"""How well each class is told from the rest, whatever the threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from pipelines.report import charts
from pipelines.report.charts import chart
from pipelines.report.inputs import Inputs, ModelInputs
from pipelines.report.page import Section, absent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ID, _TITLE, _SHORT = "roc", "Class by class", "ROC"
_SIDE = 210


def section(inputs: Inputs) -> Section:
    """Precision, recall, F1 and a ROC curve for every class of the selected network."""
    selected = inputs.selected
    if selected is None or selected.roc is None or selected.metrics is None:
        return absent(_ID, _TITLE, short=_SHORT, lacks="The selected model's ROC", stage="evaluate compare")
    classes = selected.metrics["classes"]
    others = [model for model in inputs.compared if model.roc is not None and model is not selected]
    return Section(
        id=_ID,
        title=_TITLE,
        short=_SHORT,
        context={
            "title": selected.title,
            "overall": selected.metrics["test"].get("roc_auc"),
            "classes": [
                {"name": name, **classes[name], "chart": _curve(name, classes[name], selected, others)}
                for name in inputs.classes
                if name in classes
            ],
        },
    )


def _curve(name: str, scores: dict[str, Any], selected: ModelInputs, others: list[ModelInputs]) -> Markup:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=charts.LINE, linewidth=1)
        for model in (*others, selected):
            rows = model.roc[model.roc["class"] == name] if model.roc is not None else None
            chosen = model is selected
            if rows is not None:
                axes.plot(
                    rows["false_positive_rate"],
                    rows["true_positive_rate"],
                    color=charts.ACCENT if chosen else charts.FAINT,
                    linewidth=2.2 if chosen else 1,
                    alpha=1 if chosen else 0.55,
                )
        ticks = [0, 0.5, 1]
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xticks=ticks, yticks=ticks)
        axes.set(xlabel="false positives", ylabel="true positives")

    area = scores.get("roc_auc")
    return chart(
        f"roc-{name}",
        draw,
        width=_SIDE,
        height=_SIDE,
        alt=f"ROC of {name} against the rest" + (f", area {area:.3f}" if area is not None else ""),
    )
