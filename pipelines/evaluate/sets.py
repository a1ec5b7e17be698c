"""How often a model's prediction sets contain the true class, and how large they are."""

from __future__ import annotations

import numpy as np

from pipelines.core.results import Coverage, SetScores
from pipelines.export.conformal import set_members
from pipelines.metrics import Answers, rounded
from serving.contract.model import ConformalThreshold

_TAIL = 0.025
"""On each side of a 95 % interval."""


def measure_sets(answers: Answers, sets: ConformalThreshold | None) -> SetScores | None:
    """Measure the sets of the test split, as the service makes them.

    Args:
        answers: to the test pictures, which neither stopped the training nor set temperature and threshold.
        sets: threshold in the model's contract.

    Returns:
        None without a threshold.
    """
    if sets is None:
        return None
    members = set_members(answers.probabilities, sets.threshold)
    hits = members[np.arange(len(members)), answers.actual]
    return SetScores(
        coverage=sets.coverage,
        threshold=sets.threshold,
        measured=coverage_of(int(hits.sum()), len(hits)),
        mean_size=rounded(members.sum(axis=1).mean() if len(members) else None),
        classes={
            name: coverage_of(int(hits[answers.actual == index].sum()), int((answers.actual == index).sum()))
            for index, name in enumerate(answers.classes)
        },
    )


def coverage_of(hits: int, images: int) -> Coverage:
    """Share of sets with the true class, and its exact 95 % interval (Clopper & Pearson, 1934)."""
    from scipy.stats import beta

    if not images:
        return Coverage(images=0, share=None, low=None, high=None)
    low = beta.ppf(_TAIL, hits, images - hits + 1) if hits else 0.0
    high = beta.ppf(1 - _TAIL, hits + 1, images - hits) if hits < images else 1.0
    return Coverage(images=images, share=rounded(hits / images), low=rounded(low), high=rounded(high))
