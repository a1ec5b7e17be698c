"""Probable label errors by confident learning (Northcutt, Jiang & Chuang, 2021, "Confident Learning").

A picture counts for another class if its probability of that class is at least what pictures with that label
have on average. These counts estimate the joint distribution of given and true labels; of every pair of
classes, as many pictures as the joint says are the probable errors, those with the largest margin first
("prune by noise rate", section 3.3 of the paper). The probabilities must be out of sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.metrics.summary import Answers


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelErrors:
    """Probable errors among n labels."""

    joint: NDArray[np.float64]
    """float64 [classes, classes], sums to 1: given label (row) and true label (column)."""
    suggested: NDArray[np.int64]
    """int64 [n]: the most probable class other than the given one."""
    margin: NDArray[np.float64]
    """float64 [n] in [-1, 1]: probability of the suggested class less that of the given one."""
    wrong: NDArray[np.bool_]
    """bool [n]: whether the label is probably wrong."""

    @property
    def share(self) -> float:
        """Estimated share of wrong labels."""
        return float(1 - np.trace(self.joint))

    @property
    def share_by_class(self) -> NDArray[np.float64]:
        """float64 [classes]: estimated share of wrong labels among those of each class; NaN without one."""
        given = self.joint.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(1 - np.diagonal(self.joint) / given, np.float64)

    def ranked(self) -> NDArray[np.intp]:
        """Indices of the probable errors, the most probable first."""
        indices = np.flatnonzero(self.wrong)
        return indices[np.argsort(-self.margin[indices], kind="stable")]


def find_label_errors(answers: Answers) -> LabelErrors:
    """Find probable label errors.

    Args:
        answers: given labels (as `actual`) and out-of-sample probabilities.
    """
    given, probabilities = answers.actual, answers.probabilities
    counts = np.bincount(given, minlength=len(answers.classes)).astype(np.float64)
    confident = _confident_joint(given, probabilities, counts)
    joint = _calibrated(confident, counts)
    rows = np.arange(len(given))
    others = probabilities.copy()
    others[rows, given] = -np.inf
    suggested = others.argmax(1).astype(np.int64)
    return LabelErrors(
        joint=joint,
        suggested=suggested,
        margin=probabilities[rows, suggested] - probabilities[rows, given],
        wrong=_pruned(given, probabilities, joint * len(given)),
    )


def _confident_joint(
    given: NDArray[np.int64], probabilities: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How many pictures with a label (row) are confidently of a class (column)."""
    classes = len(counts)
    own = probabilities[np.arange(len(given)), given]
    totals = np.bincount(given, weights=own, minlength=classes)
    # The mean probability of a class among the pictures with its label; none reaches that of a class without.
    thresholds = np.divide(totals, counts, out=np.full(classes, np.inf), where=counts > 0)
    # Probabilities are rounded; a picture at the mean itself must not depend on the last digit.
    reaches = probabilities >= thresholds - 1e-6
    best = np.where(reaches, probabilities, -np.inf).argmax(1)
    known = reaches.any(1)
    joint = np.zeros((classes, classes))
    np.add.at(joint, (given[known], best[known]), 1)
    # A class none of whose pictures is confident stays as it is labelled.
    empty = np.flatnonzero(joint.sum(1) == 0)
    joint[empty, empty] = 1
    return joint


def _calibrated(confident: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The joint whose rows have the labels' true counts, as shares."""
    rows = confident / confident.sum(1, keepdims=True) * counts[:, np.newaxis]
    return np.asarray(rows / rows.sum(), np.float64)


def _pruned(
    given: NDArray[np.int64], probabilities: NDArray[np.float64], expected: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Mark, for each pair of given and other class, as many pictures as expected, by the largest margin."""
    wrong = np.zeros(len(given), np.bool_)
    for label in range(len(expected)):
        members = np.flatnonzero(given == label)
        for other in range(len(expected)):
            count = round(float(expected[label, other]))
            if other == label or not count:
                continue
            margin = probabilities[members, other] - probabilities[members, label]
            # A picture for which the given class is the more probable one is never called wrong.
            best = members[np.argsort(-margin, kind="stable")[:count]]
            wrong[best[probabilities[best, other] > probabilities[best, label]]] = True
    return wrong
