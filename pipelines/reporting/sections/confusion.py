"""Which expressions are taken for which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines import metrics
from pipelines.report.inputs import Inputs
from pipelines.report.page import Section, absent

if TYPE_CHECKING:
    import pandas as pd

_ID, _TITLE, _SHORT = "confusion", "What is taken for what", "Confusion"
_PAIRS = 3
"""Most frequent confusions named in words."""


def section(inputs: Inputs) -> Section:
    """The selected network's matrix large, all others small."""
    found = [
        (model, _matrix(model.predictions, model.classes))
        for model in inputs.compared
        if model.predictions is not None
    ]
    selected = inputs.selected
    large = next((matrix for model, matrix in found if model is selected), None)
    if selected is None or large is None:
        return absent(
            _ID, _TITLE, short=_SHORT, lacks="The selected model's predictions", stage="evaluate compare"
        )
    return Section(
        id=_ID,
        title=_TITLE,
        short=_SHORT,
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
    """Rows are the true classes: count and share of the row for each predicted class."""
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
