"""How often the model is right: measured on rows with feedback, estimated without."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving.drift.data import CurrentWindow, Reference
from serving.drift.result import Estimated, Measured, Quality

# 95 % of the standard normal distribution lie within ± this value.
_Z = 1.959963984540054


def quality_of(reference: Reference, current: CurrentWindow) -> Quality:
    """Return the current accuracy, with and without feedback, and the reference's."""
    labelled = [index for index, emotion in enumerate(current.feedback) if emotion is not None]
    return Quality(
        reference=measure(reference.labels, reference.table.predicted),
        feedback=(
            measure(
                np.array([current.feedback[index] for index in labelled]), current.table.predicted[labelled]
            )
            if labelled
            else None
        ),
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
    )


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
