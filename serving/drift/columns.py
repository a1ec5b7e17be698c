"""Columns that drift compares: image statistics, answers, and the embedding's principal components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.drift.data import FACE_SIZE, NOVELTY, NUMBERS, Reference, Table
from serving.drift.thresholds import Distance, JensenShannon, NormedWasserstein
from serving.errors.operation import ReferenceUnusable

COMPONENTS = 5
"""Number of principal components: on the sample's networks they carry 94 % of the variance."""
PREDICTED = "predicted"
# Share of a column's values that may be dropped; with more, the rest may not represent the window.
_MAX_DROPPED = 0.1


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of reference and window."""

    name: str
    reference: NDArray[Any]
    """Numbers, or names of classes; [rows]."""
    window: NDArray[Any]
    """NaN where an observation has a value that is not a number; Evidently ignores these."""

    @property
    def dropped(self) -> int:
        """Number of the window's values that are not numbers."""
        return 0 if self.is_classes else int(np.isnan(self.window).sum())

    @property
    def is_classes(self) -> bool:
        """Whether the column holds names of classes."""
        return self.reference.dtype.kind == "U"

    def distance(self) -> Distance:
        """Return the distance between resamples of the reference's rows."""
        if self.is_classes:
            names, codes = np.unique(self.reference, return_inverse=True)
            return JensenShannon(codes.astype(np.intp), len(names))
        return NormedWasserstein(self.reference.astype(np.float64))

    def facts(self) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Return summary figures of reference and window, for people."""
        if self.is_classes:
            names = np.union1d(self.reference, self.window)
            return _shares(self.reference, names), _shares(self.window, names)
        return _moments(self.reference), _moments(self.window[np.isfinite(self.window)])


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Columns that are compared, and those that cannot be."""

    compared: tuple[Column, ...]
    left_out: Mapping[str, str]
    """Name → reason."""
    broken: frozenset[str] = frozenset()
    """Those of `left_out` that have too many values in the window that are not numbers."""


def columns_of(reference: Reference, window: Table) -> Columns:
    """Match the columns of reference and window.

    Raises:
        ReferenceUnusable: the embeddings have different lengths: the reference belongs to another model.
    """
    known = reference.table
    if known.embedding.shape[1] != window.embedding.shape[1]:
        raise ReferenceUnusable(
            path="the reference",
            reason=f"its embedding has {known.embedding.shape[1]} features, "
            f"the observations' has {window.embedding.shape[1]}",
        )
    pairs = {name: (known.numbers[name], window.numbers[name]) for name in NUMBERS}
    left_out: dict[str, str] = {}
    broken: set[str] = set()
    if FACE_SIZE in known.numbers:
        pairs[FACE_SIZE] = known.numbers[FACE_SIZE], window.numbers[FACE_SIZE]
    else:
        left_out[FACE_SIZE] = f"the test split has no column {FACE_SIZE}"
    if NOVELTY in known.numbers and NOVELTY in window.numbers:
        pairs[NOVELTY] = known.numbers[NOVELTY], window.numbers[NOVELTY]
    elif NOVELTY in known.numbers:
        # A service that did not record it yet answered some of them.
        left_out[NOVELTY] = "some observations have none"
    pairs |= _components(known.embedding, window.embedding)
    for name, (first, second) in list(pairs.items()):
        if np.ptp(first) == 0:
            # A constant column gives no estimate of its variation by chance.
            left_out[name] = "the test split has one value only"
            del pairs[name]
        elif dropped := int((~np.isfinite(second)).sum()):
            pairs[name] = first, np.where(np.isfinite(second), second, np.nan)
            if dropped > _MAX_DROPPED * len(second):
                left_out[name] = f"{dropped} of {len(second)} values of the window are not numbers"
                broken.add(name)
                del pairs[name]
    columns = [Column(name=name, reference=a, window=b) for name, (a, b) in pairs.items()]
    columns.append(Column(name=PREDICTED, reference=known.predicted, window=window.predicted))
    return Columns(compared=tuple(columns), left_out=left_out, broken=frozenset(broken))


def _components(
    reference: NDArray[np.float64], window: NDArray[np.float64]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return coordinates on the reference's principal axes, largest variance first."""
    mean = reference.mean(axis=0)
    centred = reference - mean
    axes = np.linalg.svd(centred, full_matrices=False)[2][:COMPONENTS]
    # An axis has two directions; the one in which its largest entry is positive is the same everywhere.
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
    axes = axes * np.where(largest < 0, -1.0, 1.0)
    ours, theirs = centred @ axes.T, (window - mean) @ axes.T
    return {f"embedding_{index + 1}": (ours[:, index], theirs[:, index]) for index in range(len(axes))}


def _moments(values: NDArray[np.float64]) -> dict[str, float]:
    return {"mean": float(values.mean()), "deviation": float(values.std())}


def _shares(values: NDArray[np.str_], names: NDArray[np.str_]) -> dict[str, float]:
    return {str(name): float((values == name).mean()) for name in names}
