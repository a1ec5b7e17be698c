"""Divides the prepared pictures into folds; each fold is judged by a network that saw none of its people.

    fold_of = assign_folds(rows, folds=4, seed=20, near_bits=4)
    parts = fold_parts(rows, fold_of, 0)        # what trains, stops and is judged for the first fold

A fold has pictures of all three splits. Its network learns from training pictures of the other folds and
stops by their validation pictures, so that neither depends on a label that it judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.core.errors import OptionError
from pipelines.core.manifest import SPLITS
from pipelines.prepare.duplicates import find_near_duplicates
from pipelines.prepare.splitting import position

Rows = NDArray[np.int64]
"""Positions in the manifest, [n], ascending."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldParts:
    """The pictures of one fold's network."""

    training: Rows
    """Training pictures of the other folds."""
    stopping: Rows
    """Validation pictures of the other folds: they end the training and set the temperature."""
    judged: Rows
    """All pictures of the fold, of every split."""


def assign_folds(rows: pd.DataFrame, *, folds: int, seed: int, near_bits: int) -> NDArray[np.int64]:
    """The fold of each picture, int64 [n], from 0.

    Pictures of one person are in one fold, and so are near-duplicates: in FER2013, where file names do not
    say who it is, most of these are the same picture cut out twice, often with the same wrong label. People
    with the most pictures are assigned first, each to the fold with the fewest pictures of that split; the
    hash that `prepare` draws splits by decides their order.

    Args:
        rows: the manifest.
        folds: their number, at least 2.
        seed: of the order.
        near_bits: perceptual hashes at most this far apart are near-duplicates.

    Raises:
        OptionError: there are fewer people than folds in a split that trains or stops.
    """
    people = _joined_people(rows, near_bits=near_bits)
    names, first, person, counts = np.unique(
        people, return_index=True, return_inverse=True, return_counts=True
    )
    positions = [position(str(name), seed) for name in names]
    splits = rows["split"].to_numpy()[first]
    fold_of_person = np.zeros(len(names), np.int64)
    for split in SPLITS:
        members = [index for index in range(len(names)) if splits[index] == split]
        if split != "test" and len(members) < folds:
            expected = f"at most {len(members)}, the people of the split {split}"
            raise OptionError(option="--folds", got=folds, expected=expected)
        sizes = np.zeros(folds, np.int64)
        for index in sorted(members, key=lambda one: (-counts[one], positions[one])):
            fold = int(sizes.argmin())
            fold_of_person[index] = fold
            sizes[fold] += counts[index]
    return fold_of_person[person]


def fold_parts(rows: pd.DataFrame, fold_of: NDArray[np.int64], fold: int) -> FoldParts:
    """The pictures that train, stop and are judged for one fold.

    Args:
        rows: the manifest.
        fold_of: the fold of each row.
        fold: from 0.
    """
    others, split = fold_of != fold, rows["split"].to_numpy()
    return FoldParts(
        training=np.flatnonzero(others & (split == "train")),
        stopping=np.flatnonzero(others & (split == "val")),
        judged=np.flatnonzero(~others),
    )


def check_classes(rows: pd.DataFrame, fold_of: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Make sure that every network learns every class.

    Raises:
        OptionError: all training pictures of a class are in one fold.
    """
    folds = int(fold_of.max()) + 1
    for fold in range(folds):
        known = set(rows["label"].to_numpy()[fold_parts(rows, fold_of, fold).training])
        missing = [name for name in classes if name not in known]
        if missing:
            expected = f"another number: fold {fold + 1} has all training pictures of {missing[0]}"
            raise OptionError(option="--folds", got=folds, expected=expected)


def _joined_people(rows: pd.DataFrame, *, near_bits: int) -> NDArray[np.str_]:
    """The group of each row, [n]; groups that share near-duplicates have the name of the first of them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, group = np.unique(rows["group"].to_numpy(str), return_inverse=True)
    pairs = group[find_near_duplicates(rows, bits=near_bits).pairs]
    shape = (len(names), len(names))
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=shape)
    _, joined = connected_components(graph, directed=False)
    _, first = np.unique(joined, return_index=True)
    return np.asarray(names[first[joined[group]]])
