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
    bins = _bins(confidence)
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


def calibration_terms(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What each picture adds to the expected calibration error: float64 [n, BINS, 3].

    In the bin of its confidence 1, its confidence, and 1 if it is right; their sums over any pictures, for
    example over a resample, go to `calibration_error_of`.
    """
    terms = np.zeros((len(confidence), BINS, 3))
    values = np.stack([np.ones(len(confidence)), confidence, right], axis=1)
    terms[np.arange(len(confidence)), _bins(confidence)] = values
    return terms


def calibration_error_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected calibration error [...] of sums [..., BINS, 3] of `calibration_terms`; NaN if empty."""
    gaps = np.abs(sums[..., 1] - sums[..., 2]).sum(-1)
    total = sums[..., 0].sum(-1)
    return np.asarray(np.where(total > 0, gaps / np.maximum(total, 1), np.nan), dtype=np.float64)


def brier_losses(actual: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distance of each picture's probabilities from its class, float64 [n], in [0, 2].

    Their mean is the Brier score in its original form, summed over the classes (Brier, 1950, "Verification of
    Forecasts Expressed in Terms of Probability"): 0 is perfect, and an equal probability for each of seven
    classes has 0.857.
    """
    wanted = np.zeros_like(probabilities)
    wanted[np.arange(len(actual)), actual] = 1
    return np.asarray(((probabilities - wanted) ** 2).sum(axis=1), dtype=np.float64)


def _bins(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
