"""Thresholds of prediction sets: split-conformal prediction with the least ambiguous sets.

A class belongs to a picture's set if its probability is at least a threshold (LAC: Sadinle, Lei & Wasserman,
2019, "Least ambiguous set-valued classifiers with bounded error levels"). The threshold is a quantile of the
true classes' probabilities on n pictures that the network was not trained on: a new picture of the same kind
has its true class in the set with a probability of at least `coverage` (Vovk et al., 2005). The service adds
the most probable class to a set that would be empty, which only raises the coverage.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.contract.model import ConformalThreshold

# As `evaluate` keeps probabilities: beyond, two processors differ.
_DECIMALS = 6


def fit_threshold(probabilities: NDArray[Any], labels: NDArray[np.int64], *, coverage: float) -> float:
    """Find the largest threshold with at least the nominal coverage on exchangeable pictures.

    Args:
        probabilities: calibrated, [n, classes].
        labels: class indices, [n].
        coverage: nominal, in (0, 1).

    Returns:
        The ⌈(n + 1) · coverage⌉-th largest probability of a true class, rounded down; 0, which lets every
        class in, if there are fewer pictures than that.
    """
    own = np.sort(np.asarray(probabilities, np.float64)[np.arange(len(labels)), labels])[::-1]
    rank = math.ceil((len(own) + 1) * coverage)
    return 0.0 if rank > len(own) else math.floor(own[rank - 1] * 10**_DECIMALS) / 10**_DECIMALS


def set_members(probabilities: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    """Which classes are in the sets, bool [n, classes]: from the threshold on, and the most probable."""
    members = np.asarray(probabilities) >= threshold
    members[np.arange(len(members)), np.argmax(probabilities, axis=1)] = True
    return members


def covered(probabilities: NDArray[Any], labels: NDArray[np.int64], threshold: float) -> float:
    """Share of sets that contain the true class."""
    return float(set_members(probabilities, threshold)[np.arange(len(labels)), labels].mean())


def fit_sets(
    validation: tuple[NDArray[Any], NDArray[np.int64]],
    held_out: tuple[NDArray[Any], NDArray[np.int64]],
    *,
    coverage: float,
) -> ConformalThreshold:
    """Fit the threshold to validation pictures and measure its coverage on others.

    Args:
        validation: probabilities [n, classes] and class indices [n].
        held_out: the same of pictures that neither stopped the training nor set the temperature.
        coverage: nominal.
    """
    threshold = fit_threshold(*validation, coverage=coverage)
    return ConformalThreshold(
        threshold=threshold,
        coverage=coverage,
        measured_coverage=round(covered(*held_out, threshold), _DECIMALS),
    )
