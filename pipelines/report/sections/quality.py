"""Sections about the selected model's quality: calibration, confusion, ROC curves, unfamiliar pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from pipelines import metrics
from pipelines.metrics import ClassScores
from pipelines.report import charts
from pipelines.report.charts import chart, responsive
from pipelines.report.inputs import Inputs, ModelInputs
from pipelines.report.page import Heading, Section, absent

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_CALIBRATION = Heading("calibration", "Calibration of the probabilities", "Calibration")


def calibration_section(inputs: Inputs) -> Section:
    """Show the selected network's reliability diagram and sets, and every network's calibration error."""
    selected = inputs.selected
    if selected is None or selected.calibration is None or selected.metrics is None:
        return absent(_CALIBRATION, lacks="The selected model's calibration", stage="evaluate compare")
    scored = [(model, model.metrics.test.ece) for model in inputs.compared if model.metrics is not None]
    return Section(
        heading=_CALIBRATION,
        context={
            "title": selected.title,
            "error": selected.metrics.test.ece,
            "export": selected.export,
            "sets": selected.metrics.sets,
            "models": [
                {"title": model.title, "error": error, "selected": model is selected}
                for model, error in sorted(scored, key=lambda item: (item[1] is None, item[1] or 0.0))
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
        upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share correct")
        lower.bar(bins["confidence"], bins["images"], width=0.045, color=charts.FAINT)
        lower.set(xlabel="probability of the predicted class", ylabel="pictures")
        charts.only_horizontal_grid(lower)

    return responsive(
        "reliability",
        draw,
        wide=(520, 400),
        narrow=(330, 340),
        alt=f"{model.title}: share of correct predictions against their probability, in {len(bins)} bins",
    )


_CONFUSION = Heading("confusion", "Confusion matrix", "Confusion")
_PAIRS = 3
"""Number of most frequent confusions that are named in the text."""


def confusion_section(inputs: Inputs) -> Section:
    """Show the selected network's confusion matrix in large, those of all networks in small."""
    found = [
        (model, _matrix(model.predictions, model.classes))
        for model in inputs.compared
        if model.predictions is not None
    ]
    selected = inputs.selected
    large = next((matrix for model, matrix in found if model is selected), None)
    if selected is None or large is None:
        return absent(_CONFUSION, lacks="The selected model's predictions", stage="evaluate compare")
    return Section(
        heading=_CONFUSION,
        context={
            "classes": inputs.classes,
            "title": selected.title,
            "large": large,
            "pairs": _pairs(large, inputs.classes),
            "small": [
                {"title": model.title, "classes": model.classes, "matrix": matrix} for model, matrix in found
            ],
        },
    )


def _matrix(predictions: pd.DataFrame, classes: tuple[str, ...]) -> list[list[dict[str, Any]]]:
    """Build the matrix: rows are true classes; cells hold count and share of the row."""
    index = {name: position for position, name in enumerate(classes)}
    actual, predicted = (
        np.array([index[name] for name in predictions[column]], dtype=np.int64)
        for column in ("label", "predicted")
    )
    counts = metrics.confusion_matrix(actual, predicted, classes=len(classes))
    return [
        [
            {"count": int(count), "share": int(count) / max(1, int(row.sum())), "right": actual == predicted}
            for predicted, count in enumerate(row)
        ]
        for actual, row in enumerate(counts)
    ]


def _pairs(matrix: list[list[dict[str, Any]]], classes: tuple[str, ...]) -> list[dict[str, Any]]:
    wrong = [
        {"actual": classes[actual], "predicted": classes[predicted], **cell}
        for actual, row in enumerate(matrix)
        for predicted, cell in enumerate(row)
        if cell["count"] and not cell["right"]
    ]
    return sorted(wrong, key=lambda pair: (-pair["share"], pair["actual"], pair["predicted"]))[:_PAIRS]


_ROC = Heading("roc", "Metrics by class", "ROC")
_SIDE = 210


def roc_section(inputs: Inputs) -> Section:
    """Show precision, recall, F1 and a ROC curve for every class of the selected network."""
    selected = inputs.selected
    if selected is None or selected.roc is None or selected.metrics is None:
        return absent(_ROC, lacks="The selected model's ROC", stage="evaluate compare")
    classes = selected.metrics.classes
    others = [model for model in inputs.compared if model.roc is not None and model is not selected]
    return Section(
        heading=_ROC,
        context={
            "title": selected.title,
            "overall": selected.metrics.test.roc_auc,
            "classes": [
                (name, classes[name], _curve(name, classes[name], selected, others))
                for name in inputs.classes
                if name in classes
            ],
        },
    )


def _curve(name: str, scores: ClassScores, selected: ModelInputs, others: list[ModelInputs]) -> Markup:
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
        axes.set(xlabel="false positive rate", ylabel="true positive rate")

    area = scores.roc_auc
    return chart(
        f"roc-{name}",
        draw,
        width=_SIDE,
        height=_SIDE,
        alt=f"ROC of {name} against the rest" + (f", area {area:.3f}" if area is not None else ""),
    )


_UNFAMILIAR = Heading("unfamiliar", "Pictures unlike the training's", "Unfamiliar")


def unfamiliar_section(inputs: Inputs) -> Section:
    """Show how far the output `novelty` tells test pictures from pictures without a face."""
    selected = inputs.selected
    if selected is None or selected.metrics is None:
        return absent(_UNFAMILIAR, lacks="The selected model's metrics", stage="evaluate compare")
    found = [
        (model, model.metrics.novelty)
        for model in inputs.compared
        if model.metrics is not None and model.metrics.novelty is not None
    ]
    return Section(
        heading=_UNFAMILIAR,
        context={
            "title": selected.title,
            "own": selected.metrics.novelty,
            "models": [
                {"title": model.title, "novelty": novelty, "selected": model is selected}
                for model, novelty in sorted(found, key=lambda item: -(item[1].auroc or 0.0))
            ],
        },
    )
