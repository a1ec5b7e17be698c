"""Metrics of a network on the validation split, from its logits alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Figures of one epoch on the validation split."""

    loss: float
    """Mean cross-entropy in nats, without class weights or label smoothing."""
    accuracy: float
    """Share of correct predictions, in [0, 1]."""
    macro_f1: float
    """Mean over classes of F1, in [0, 1]; a class never seen nor predicted counts as 0."""


def validate_logits(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Validation:
    """Compare logits [n, classes] with labels [n]."""
    predicted = logits.argmax(axis=1)
    return Validation(
        loss=cross_entropy(logits, labels),
        accuracy=float((predicted == labels).mean()),
        macro_f1=macro_f1(labels, predicted, classes=logits.shape[1]),
    )


def cross_entropy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of labels [n] under softmax of logits [n, classes]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return float((log_sum - shifted[np.arange(len(labels)), labels]).mean())


def macro_f1(labels: NDArray[np.int64], predicted: NDArray[np.int64], *, classes: int) -> float:
    """Unweighted mean over all classes of 2·TP / (2·TP + FP + FN), 0 where nothing is counted."""
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    total = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
    return float(np.mean(2 * hits / np.maximum(total, 1)))


def class_weights(labels: NDArray[np.int64], *, classes: int) -> NDArray[np.float32]:
    """Weight of each class, inverse to its frequency; the mean over all images is 1.

    King & Zeng, 2001, "Logistic regression in rare events data": n / (classes · count).
    """
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (classes * np.maximum(counts, 1))).astype(np.float32)
