"""How often the model is right: measured on faces with feedback, estimated without."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving.drift.data import CurrentWindow, Probabilities, Reference
from serving.drift.result import (
    Estimated,
    Expected,
    ExpectedClass,
    ExpectedMetrics,
    Measured,
    Quality,
)

# 95 % of the standard normal distribution lie within ± this value.
_Z = 1.959963984540054
_DRAWS, _SEED = 1000, 0


def quality_of(reference: Reference, current: CurrentWindow) -> Quality:
    """Return the current accuracy, with and without feedback, and the reference's."""
    rows = zip(current.feedback, current.table.predicted.tolist(), strict=True)
    labelled = [(true, predicted) for true, predicted in rows if true is not None]
    labelled += [(face.true, face.predicted) for face in current.other_faces]
    true, predicted = np.array(labelled, dtype=np.str_).reshape(-1, 2).T
    return Quality(
        reference=measure(reference.labels, reference.table.predicted),
        feedback=measure(true, predicted) if labelled else None,
        estimated=estimate(reference, current),
    )


def measure(truth: NDArray[np.str_], predicted: NDArray[np.str_]) -> Measured:
    """Return accuracy, macro-F1 and confusion; both arguments are [rows], with at least one row."""
    classes = np.union1d(truth, predicted)
    right = int((truth == predicted).sum())
    low, high = wilson(right, len(truth))
    return Measured(
        rows=len(truth),
        accuracy=right / len(truth),
        accuracy_low=low,
        accuracy_high=high,
        macro_f1=float(np.mean([_f1(truth == name, predicted == name) for name in classes])),
        confusion={
            str(one): {str(other): int(((truth == one) & (predicted == other)).sum()) for other in classes}
            for one in classes
        },
    )


def estimate(reference: Reference, current: CurrentWindow) -> Estimated:
    """Estimate the window's accuracy from confidences alone.

    ATC (Garg et al., 2022, "Leveraging unlabeled data to predict out-of-distribution performance", ICLR):
    choose the threshold so that the number of reference rows with a higher score equals the number of
    correct ones; the share of the window's rows above it is the estimate. The score is the negative entropy,
    the better of the two scores in that paper.
    """
    ours, theirs = -reference.table.numbers["entropy"], -_finite(current.table.numbers["entropy"])
    right = int((reference.labels == reference.table.predicted).sum())
    confidences = _finite(current.table.numbers["confidence"])
    # The `right` greatest scores of the reference are at or above it.
    bound = np.sort(ours)[::-1][right - 1] if right else np.inf
    return Estimated(
        # 0.0 for an empty window: without a single number there is no basis for an estimate.
        mean_confidence=float(confidences.mean()) if len(confidences) else 0.0,
        atc=float((theirs >= bound).mean()) if len(theirs) else 0.0,
        cbpe=None if current.probabilities is None else expected_metrics(current.probabilities),
    )


def expected_metrics(probabilities: Probabilities) -> ExpectedMetrics | None:
    """Estimate metrics of each class from probabilities alone; None without a row of finite ones.

    Confidence-based performance estimation (Kivimäki et al., 2025, "Confidence-based estimators for
    predictive performance in model monitoring"): if the probabilities are calibrated, row i is of class k
    with probability p[i, k], so the expected confusion matrix is the sum of the rows by predicted class. The
    intervals are those of the metrics over true classes that are drawn from the probabilities.
    """
    values = probabilities.values[np.isfinite(probabilities.values).all(axis=1)]
    if not len(values):
        return None
    predicted = values.argmax(axis=1)
    # [predicted, true]
    confusion = np.stack([values[predicted == k].sum(axis=0) for k in range(values.shape[1])])
    drawn = _drawn_confusions(values, predicted)
    accuracy, recall, precision, f1 = (
        _expected(value, resampled)
        for value, resampled in zip(_metrics(confusion), _metrics(drawn), strict=True)
    )
    return ExpectedMetrics(
        accuracy=accuracy[0],
        macro_f1=f1[0],
        classes={
            name: ExpectedClass(recall=recall[k], precision=precision[k])
            for k, name in enumerate(probabilities.classes)
        },
    )


def _drawn_confusions(values: NDArray[np.float64], predicted: NDArray[np.intp]) -> NDArray[np.float64]:
    """Confusion matrices [draws, predicted, true] with true classes drawn from the probabilities."""
    random, classes = np.random.default_rng(_SEED), values.shape[1]
    edges = np.cumsum(values, axis=1)
    edges /= edges[:, -1:]
    drawn = np.empty((_DRAWS, classes, classes))
    for index in range(_DRAWS):
        true = (random.random((len(values), 1)) > edges).sum(axis=1)
        counts = np.bincount(predicted * classes + true, minlength=classes**2)
        drawn[index] = counts.reshape(classes, classes)
    return drawn


def _metrics(confusion: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Accuracy [..., 1], recall and precision [..., classes] and macro-F1 [..., 1]; NaN where undefined."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    actual, predicted = confusion.sum(axis=-2), confusion.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        f1 = 2 * right / (actual + predicted)
        return (
            (right.sum(axis=-1) / actual.sum(axis=-1))[..., np.newaxis],
            right / actual,
            right / predicted,
            # A class that neither occurs nor is predicted counts for nothing, as in `measure`.
            np.nanmean(f1, axis=-1)[..., np.newaxis],
        )


def _expected(value: NDArray[np.float64], drawn: NDArray[np.float64]) -> list[Expected]:
    """Each value with the central 95 % of its draws, [draws, values]."""
    found = []
    for own, draws in zip(value, drawn.T, strict=True):
        known = draws[np.isfinite(draws)]
        low, high = np.quantile(known, (0.025, 0.975)) if len(known) else (np.nan, np.nan)
        found.append(Expected(value=_number(own), low=_number(low), high=_number(high)))
    return found


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[np.isfinite(values)]


def wilson(right: int, rows: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson, 1927); valid near 0 and 1 and with few rows."""
    share, z2 = right / rows, _Z**2
    centre = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = _Z * np.sqrt(share * (1 - share) / rows + z2 / (4 * rows**2)) / (1 + z2 / rows)
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def _f1(is_true: NDArray[np.bool_], is_predicted: NDArray[np.bool_]) -> float:
    return float(2 * (is_true & is_predicted).sum() / (is_true.sum() + is_predicted.sum()))
