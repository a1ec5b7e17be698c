"""Calibration: whether predictions with probability 0.8 are correct in 80 of 100 cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Guo et al., 2017, "On Calibration of Modern Neural Networks", use 15 bins of equal width.
BINS = 15


@dataclass(frozen=True, slots=True)
class Reliability:
    """One row per bin of confidence (m - 1) / BINS < confidence ≤ m / BINS; empty bins have NaN means."""

    count: NDArray[np.int64]
    """[BINS], pictures."""
    confidence: NDArray[np.float64]
    """[BINS], mean probability of the predicted class."""
    accuracy: NDArray[np.float64]
    """[BINS], share of right predictions."""


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> Reliability:
    """Group predictions by their confidence.

    Args:
        confidence: float64 [n], probability of the predicted class, in [0, 1].
        right: bool [n], whether the prediction was right.
    """
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    count = np.bincount(bins, minlength=BINS).astype(np.int64)
    means = [
        np.divide(
            np.bincount(bins, weights=values.astype(np.float64), minlength=BINS),
            count,
            out=np.full(BINS, np.nan),
            where=count > 0,
        )
        for values in (confidence, right)
    ]
    return Reliability(count=count, confidence=means[0], accuracy=means[1])


def expected_calibration_error(table: Reliability) -> float | None:
    """Mean distance of confidence from accuracy over the bins, weighted by their pictures, in [0, 1]."""
    total = int(table.count.sum())
    if not total:
        return None
    gaps = np.abs(table.accuracy - table.confidence)
    return float(np.nansum(gaps * table.count) / total)
