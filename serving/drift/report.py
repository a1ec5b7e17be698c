"""Evidently: the scores of the columns, the page for people, the snapshot for its own workspace.

The only module that loads Evidently, which costs seconds and 300 MiB: it is imported by the process that
`serving.drift.runner` starts, and by nobody else.
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
"""As Evidently calls the distances of `serving.drift.thresholds`."""
_TRUTH = "true emotion"


@dataclass(frozen=True, kw_only=True)
class EvidentlyReport:
    """What Evidently made."""

    scores: Mapping[str, float]
    """Column → distance."""
    html: str
    """One page, nothing of which is loaded from elsewhere."""
    snapshot: str
    """JSON; `evidently.core.report.Snapshot.loads` reads it back for a workspace."""


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
    # Evidently's user interface reports its use; nothing here does.
    os.environ["DO_NOT_TRACK"] = "1"
    from evidently import Report as Evidently
    from evidently.metrics import Accuracy, F1Score, ValueDrift

    told = shows_quality(columns, current)
    metrics: list[Any] = [
        ValueDrift(column=one.name, method=_method(one), threshold=thresholds[one.name]) for one in columns
    ]
    if told:
        metrics += [Accuracy(), F1Score()]
    # Without its own tests: of quality they would be against a random guess, with a verdict of their own.
    run = Evidently(metrics, metadata={"model": model}, include_tests=False).run(
        _dataset({one.name: one.window for one in columns}, list(current.feedback) if told else None),
        _dataset({one.name: one.reference for one in columns}, reference.labels.tolist() if told else None),
    )
    values = [metric["value"] for metric in run.dict()["metrics"]]
    scores = {one.name: float(value) for one, value in zip(columns, values, strict=False)}
    return EvidentlyReport(scores=scores, html=run.get_html_str(as_iframe=False), snapshot=run.dumps())


def shows_quality(columns: Sequence[Column], current: CurrentWindow) -> bool:
    """Whether Evidently can be asked for accuracy and F1 on the rows that people told about.

    Where these have two labels between them it takes the question for a binary one, looks for a class
    called 1 and fails; the result itself has its own figures (`serving.drift.quality`).
    """
    predicted = next((one.window for one in columns if one.is_classes), None)
    if predicted is None:
        return False
    told = [pair for pair in zip(current.feedback, predicted, strict=True) if pair[0] is not None]
    return len({str(label) for pair in told for label in pair}) > 2


def _method(column: Column) -> str:
    return CLASSES_METHOD if column.is_classes else NUMBERS_METHOD


def _dataset(
    values: Mapping[str, NDArray[np.float64] | NDArray[np.str_]], truth: list[str | None] | None
) -> Dataset:
    """A data set as Evidently takes it; rows without truth do not count towards quality."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, MulticlassClassification

    frame: pd.DataFrame = pd.DataFrame(dict(values))
    numbers = [name for name, column in values.items() if column.dtype.kind != "U"]
    classes = [name for name in values if name not in numbers]
    quality = None
    if truth is not None:
        frame[_TRUTH] = truth
        quality = [MulticlassClassification(target=_TRUTH, prediction_labels=classes[0])]
    definition = DataDefinition(
        numerical_columns=numbers,
        categorical_columns=[*classes, *([_TRUTH] if truth is not None else [])],
        classification=quality,
    )
    return Dataset.from_pandas(frame, definition)
