"""All metrics of one set of predictions, as in `metrics.json`: rounded, and null where undefined.

A metric is one field of `ComparedScores` or `TestScores`, with its `Metric`. From it, `evaluate` computes the
metric, and the comparison, the report, the model card, `dvc metrics`, the Prefect artifact and the quality
gate show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any, SupportsFloat, get_type_hints

import numpy as np
from numpy.typing import NDArray

from pipelines.metrics.bootstrap import Statistic, group_confusions, intervals, rounded
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


def _ece(answers: Answers) -> float | None:
    return expected_calibration_error(answers.reliability)


def _top2_accuracy(answers: Answers) -> float | None:
    return top_k_accuracy(answers.actual, answers.probabilities, k=2)


def _mean_roc_auc(answers: Answers) -> float | None:
    values = roc_auc(answers.actual, answers.probabilities)
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None


def _log_loss(answers: Answers) -> float | None:
    return log_loss(answers.actual, answers.probabilities)


Value = float | None
"""Of a metric, rounded; None where it is undefined."""


@dataclass(frozen=True)
class Metric:
    """How a metric is computed and shown."""

    title: str
    """Name in a sentence."""
    heading: str
    """Heading of a narrow column."""
    _: KW_ONLY
    statistic: Statistic | None = None
    """Computes it from a confusion matrix; None if that is not possible."""
    of: Callable[[Answers], SupportsFloat | None] | None = None
    """Computes it from answers; None to use `statistic`."""
    percent: bool = False
    """Whether the report shows it as a percentage."""
    terminal: bool = True
    """Whether it is a column of the terminal's comparison, which has 108 characters."""

    def compute(self, answers: Answers) -> float | None:
        """Compute it, rounded; None if it is undefined."""
        if self.of is not None:
            return rounded(self.of(answers))
        return None if self.statistic is None else rounded(self.statistic(answers.matrix))


@dataclass(frozen=True, kw_only=True)
class Score:
    """Value of a metric, with its 95 % interval if that is known."""

    name: str
    metric: Metric
    value: float | None
    low: float | None
    high: float | None

    def text(self, interval: str) -> str:
        """Format the value, and its interval by a format string with `low` and `high`; a dash for None."""
        if self.value is None:
            return "–"
        known = self.low is not None and self.high is not None
        return f"{self.value:.3f}{interval.format(low=self.low, high=self.high) if known else ''}"


@dataclass(frozen=True, kw_only=True)
class ComparedScores:
    """Metrics that the comparison shows; each field with a `Metric` is one."""

    accuracy: Annotated[Value, Metric("accuracy", "accuracy", statistic=accuracy, percent=True)]
    accuracy_low: Value
    """End of the 95 % interval, as all `…_low` and `…_high`; None with one group only."""
    accuracy_high: Value
    macro_f1: Annotated[Value, Metric("macro-F1", "macro-F1", statistic=macro_f1)]
    macro_f1_low: Value
    macro_f1_high: Value
    balanced_accuracy: Annotated[
        Value,
        Metric("balanced accuracy", "balanced", statistic=balanced_accuracy, percent=True, terminal=False),
    ]
    ece: Annotated[Value, Metric("expected calibration error", "ECE", of=_ece)]

    def scores(self) -> list[Score]:
        """List the score of every metric of `METRICS` that this record has."""
        return [self.score(name) for name in METRICS if hasattr(self, name)]

    def score(self, name: str) -> Score:
        """Return the score of one metric."""
        low, high = (getattr(self, f"{name}_{end}", None) for end in ("low", "high"))
        return Score(name=name, metric=METRICS[name], value=getattr(self, name), low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class TestScores(ComparedScores):
    """Every metric that is one number for all classes; each field with a `Metric` is one."""

    __test__ = False  # not a test, although its name starts as one

    images: int
    groups: int
    """Number of people (or other groups), over which the intervals are computed."""
    top2_accuracy: Annotated[Value, Metric("top-2 accuracy", "top-2", of=_top2_accuracy, percent=True)]
    roc_auc: Annotated[Value, Metric("ROC AUC, one against rest", "ROC AUC", of=_mean_roc_auc)]
    kappa: Annotated[Value, Metric("Cohen's kappa", "kappa", statistic=cohen_kappa)]
    log_loss: Annotated[Value, Metric("log loss, nats", "log loss", of=_log_loss)]


def _declared(kind: type[ComparedScores]) -> dict[str, Metric]:
    """Collect the metrics of a record by the name of their field."""
    hints = get_type_hints(kind, include_extras=True)
    notes = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    return {name: found[0] for name, found in notes.items() if found}


METRICS = _declared(TestScores)
"""All metrics that are one number for all classes, by name."""
_WITH_INTERVAL = {
    name: metric.statistic
    for name, metric in METRICS.items()
    if metric.statistic is not None and f"{name}_low" in TestScores.__dataclass_fields__
}


@dataclass(frozen=True, kw_only=True)
class BasicScores:
    """Metrics of a part of the test pictures, or of another split."""

    images: int
    accuracy: float | None
    """None without pictures, as `macro_f1`."""
    macro_f1: float | None


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """Metrics of one class; None where it is undefined."""

    precision: float | None
    recall: float | None
    f1: float | None
    roc_auc: float | None
    """Against all other classes."""
    support: int
    """Number of pictures of the class."""


def overall(answers: Answers, groups: NDArray[Any], *, samples: int, seed: int) -> TestScores:
    """Compute every metric that is one number for all classes, and the 95 % intervals.

    Args:
        answers: to n pictures.
        groups: [n], person or other group of each picture.
        samples: bootstrap resamples.
        seed: of the bootstrap.
    """
    sums = group_confusions(answers.actual, answers.predicted, groups=groups, classes=len(answers.classes))
    values = {name: metric.compute(answers) for name, metric in METRICS.items()}
    for name, ends in intervals(sums, _WITH_INTERVAL, samples=samples, seed=seed).items():
        low, high = ends or (None, None)
        values |= {f"{name}_low": rounded(low), f"{name}_high": rounded(high)}
    return TestScores(images=len(answers.actual), groups=len(sums), **values)


def brief(matrix: Matrix) -> BasicScores:
    """Images, accuracy and macro-F1 of one confusion matrix."""
    return BasicScores(
        images=int(matrix.sum()), accuracy=rounded(accuracy(matrix)), macro_f1=rounded(macro_f1(matrix))
    )


def by_class(answers: Answers) -> dict[str, ClassScores]:
    """Precision, recall, F1, support and one-vs-rest ROC AUC of every class."""
    matrix = answers.matrix
    columns = {
        "precision": precision(matrix),
        "recall": recall(matrix),
        "f1": f1(matrix),
        "roc_auc": roc_auc(answers.actual, answers.probabilities),
    }
    return {
        name: ClassScores(
            **{metric: rounded(values[index]) for metric, values in columns.items()},
            support=int(matrix[index].sum()),
        )
        for index, name in enumerate(answers.classes)
    }


def by_slice(answers: Answers, masks: Mapping[str, Mask]) -> dict[str, BasicScores]:
    """Images, accuracy and macro-F1 of every slice; those of an empty one are undefined."""
    actual, predicted, count = answers.actual, answers.predicted, len(answers.classes)
    return {
        name: brief(confusion_matrix(actual[mask], predicted[mask], classes=count))
        for name, mask in masks.items()
    }
