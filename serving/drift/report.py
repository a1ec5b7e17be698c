"""Evidently's report: the scores of the columns, an HTML page, and a snapshot for Evidently's workspace.

Importing Evidently costs seconds and 300 MiB. No other module imports it, and only the process that
`serving.drift.runner` starts imports this module.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serving.drift.columns import Column
from serving.drift.data import CurrentWindow, Reference

if TYPE_CHECKING:
    import pandas as pd
    from evidently import Dataset

NUMBERS_METHOD, CLASSES_METHOD = "wasserstein", "jensenshannon"
"""Evidently's names of the distances in `serving.drift.thresholds`."""
_TRUTH, _ANSWER = "true emotion", "answer"


@dataclass(frozen=True, kw_only=True)
class EvidentlyReport:
    """Scores and files of one Evidently run."""

    scores: Mapping[str, float]
    """Column → distance."""
    html: str
    """One page that loads nothing from other addresses."""
    snapshot: str
    """JSON; `evidently.core.report.Snapshot.loads` reads it for a workspace."""


def make_report(
    columns: Sequence[Column],
    thresholds: Mapping[str, float],
    reference: Reference,
    current: CurrentWindow,
    *,
    model: str,
) -> EvidentlyReport:
    """Run Evidently on the columns, and on the quality where feedback exists.

    Args:
        columns: to be compared.
        thresholds: of each column.
        reference: for the quality.
        current: for the quality.
        model: name and version, for the page's metadata.
    """
    # Evidently's user interface sends usage statistics; this switches them off everywhere.
    os.environ["DO_NOT_TRACK"] = "1"
    from evidently import Report as Evidently
    from evidently.metrics import Accuracy, F1Score, ValueDrift

    with_quality = shows_quality(columns, current)
    answers = next((one for one in columns if one.is_classes), None) if with_quality else None
    metrics: list[Any] = [
        ValueDrift(column=one.name, method=_method(one), threshold=thresholds[one.name]) for one in columns
    ]
    if with_quality:
        metrics += [Accuracy(), F1Score()]
    # Without Evidently's tests: those of quality compare with a random guess and add their own verdict.
    run = Evidently(metrics, metadata={"model": model}, include_tests=False).run(
        _dataset(
            {one.name: one.window for one in columns},
            _judged(current, answers.window.tolist()) if answers else None,
        ),
        _dataset(
            {one.name: one.reference for one in columns},
            [*zip(reference.labels.tolist(), answers.reference.tolist(), strict=True)] if answers else None,
        ),
    )
    values = [metric["value"] for metric in run.dict()["metrics"]]
    scores = {one.name: float(value) for one, value in zip(columns, values, strict=False)}
    return EvidentlyReport(scores=scores, html=run.get_html_str(as_iframe=False), snapshot=run.dumps())


def shows_quality(columns: Sequence[Column], current: CurrentWindow) -> bool:
    """Whether Evidently can compute accuracy and F1 on the faces with feedback.

    With only two labels on these faces Evidently assumes a binary problem, looks for a class called 1 and
    fails; the drift result has its own figures (`serving.drift.quality`).
    """
    predicted = next((one.window for one in columns if one.is_classes), None)
    if predicted is None:
        return False
    labelled = [pair for pair in _judged(current, predicted.tolist()) if pair[0] is not None]
    return len({label for pair in labelled for label in pair}) > 2


def _judged(current: CurrentWindow, predicted: Sequence[str]) -> list[tuple[str | None, str]]:
    """Return the true emotion and the answer: of each row, then of each other face with feedback."""
    others = [(face.true, face.predicted) for face in current.other_faces]
    return [*zip(current.feedback, predicted, strict=True), *others]


def _method(column: Column) -> str:
    return CLASSES_METHOD if column.is_classes else NUMBERS_METHOD


def _dataset(
    values: Mapping[str, NDArray[np.float64] | NDArray[np.str_]],
    judged: Sequence[tuple[str | None, str]] | None,
) -> Dataset:
    """Create Evidently's data set.

    Args:
        values: the compared columns, [rows].
        judged: true emotion and answer of each row, then of faces without a row; pairs without a true emotion
            do not count towards quality. None: without quality.
    """
    import pandas as pd
    from evidently import DataDefinition, Dataset, MulticlassClassification

    frame: pd.DataFrame = pd.DataFrame(dict(values))
    numbers = [name for name, column in values.items() if column.dtype.kind != "U"]
    classes = [name for name in values if name not in numbers]
    quality = None
    if judged is not None:
        # Faces without a row have no values in the compared columns; Evidently ignores these.
        frame = frame.reindex(range(len(judged)))
        frame[_TRUTH] = [true for true, _ in judged]
        frame[_ANSWER] = [answer for _, answer in judged]
        classes += [_TRUTH, _ANSWER]
        quality = [MulticlassClassification(target=_TRUTH, prediction_labels=_ANSWER)]
    definition = DataDefinition(
        numerical_columns=numbers, categorical_columns=classes, classification=quality
    )
    return Dataset.from_pandas(frame, definition)
