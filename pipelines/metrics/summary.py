"""All metrics of one set of predictions, as in `metrics.json`: rounded, and null where undefined."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from pipelines.metrics.bootstrap import group_confusions, intervals
from pipelines.metrics.calibration import Reliability, expected_calibration_error, reliability
from pipelines.metrics.classification import (
    Floats,
    Indices,
    Matrix,
    accuracy,
    balanced_accuracy,
    cohen_kappa,
    confusion_matrix,
    f1,
    log_loss,
    macro_f1,
    precision,
    recall,
    roc_auc,
    top_k_accuracy,
)
from pipelines.metrics.slices import Mask

# Six decimals: far below any metric's own uncertainty, far above what another processor's
# rounding changes, so that two machines write the same file.
DECIMALS = 6


def rounded(value: SupportsFloat | None, decimals: int = DECIMALS) -> float | None:
    """`value` with `decimals` places; None for None and NaN."""
    if value is None or math.isnan(number := float(value)):
        return None
    return round(number, decimals)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """A model's predictions for n pictures whose class is known."""

    classes: tuple[str, ...]
    """In the order of the probabilities' columns."""
    actual: Indices
    """int64 [n]."""
    probabilities: Floats
    """float64 [n, classes]."""

    @classmethod
    def of(cls, labels: Sequence[str], probabilities: NDArray[Any], classes: Sequence[str]) -> Answers:
        """Answers to pictures given by their class names, which must all be among `classes`."""
        index = {name: position for position, name in enumerate(classes)}
        return cls(
            classes=tuple(classes),
            actual=np.array([index[label] for label in labels], dtype=np.int64),
            probabilities=np.asarray(probabilities, dtype=np.float64),
        )

    @property
    def predicted(self) -> Indices:
        """int64 [n], the most probable class."""
        return np.asarray(self.probabilities.argmax(1), dtype=np.int64)

    @property
    def matrix(self) -> NDArray[np.int64]:
        """Confusion matrix [classes, classes], rows actual."""
        return confusion_matrix(self.actual, self.predicted, classes=len(self.classes))

    @property
    def reliability(self) -> Reliability:
        """Confidence against accuracy."""
        return reliability(self.probabilities.max(1), self.predicted == self.actual)


def overall(answers: Answers) -> dict[str, Any]:
    """Every metric that is one number for all classes; null where undefined."""
    matrix = answers.matrix
    actual, probabilities = answers.actual, answers.probabilities
    return brief(matrix) | {
        "balanced_accuracy": rounded(balanced_accuracy(matrix)),
        "top2_accuracy": rounded(top_k_accuracy(actual, probabilities, k=2)),
        "roc_auc": rounded(_mean(roc_auc(actual, probabilities))),
        "ece": rounded(expected_calibration_error(answers.reliability)),
        "kappa": rounded(cohen_kappa(matrix)),
        "log_loss": rounded(log_loss(actual, probabilities)),
    }


def brief(matrix: Matrix) -> dict[str, Any]:
    """Images, accuracy and macro-F1 of one confusion matrix."""
    return {
        "images": int(matrix.sum()),
        "accuracy": rounded(accuracy(matrix)),
        "macro_f1": rounded(macro_f1(matrix)),
    }


def bounds(answers: Answers, groups: NDArray[Any], *, samples: int, seed: int) -> dict[str, Any]:
    """The number of groups, and the 95 % intervals of accuracy and macro-F1 over them."""
    sums = group_confusions(answers.actual, answers.predicted, groups=groups, classes=len(answers.classes))
    found = intervals(sums, {"accuracy": accuracy, "macro_f1": macro_f1}, samples=samples, seed=seed)
    result: dict[str, Any] = {"groups": len(sums)}
    for name, ends in found.items():
        low, high = ends or (None, None)
        result |= {f"{name}_low": rounded(low), f"{name}_high": rounded(high)}
    return result


def by_class(answers: Answers) -> dict[str, dict[str, Any]]:
    """Precision, recall, F1, support and one-vs-rest ROC AUC of every class."""
    matrix = answers.matrix
    columns = {
        "precision": precision(matrix),
        "recall": recall(matrix),
        "f1": f1(matrix),
        "roc_auc": roc_auc(answers.actual, answers.probabilities),
    }
    return {
        name: {metric: rounded(values[index]) for metric, values in columns.items()}
        | {"support": int(matrix[index].sum())}
        for index, name in enumerate(answers.classes)
    }


def by_slice(answers: Answers, masks: Mapping[str, Mask]) -> dict[str, dict[str, Any]]:
    """Images, accuracy and macro-F1 of every slice; an empty one has null metrics."""
    actual, predicted, count = answers.actual, answers.predicted, len(answers.classes)
    return {
        name: brief(confusion_matrix(actual[mask], predicted[mask], classes=count))
        for name, mask in masks.items()
    }


def _mean(values: Floats) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None
