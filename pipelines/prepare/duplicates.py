"""Finds duplicates and decides which of them are removed.

FER2013 is the reason: about a twentieth of its faces occur more than once, some of them in
train and test, some under two labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.prepare.splitting import PRECEDENCE

_BITS = 64
# With bands of fewer bits the buckets are so large that comparing all pairs is as fast.
_MIN_BAND_BITS = 8
_BLOCK = 2048


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Decisions on identical pictures; positions are row numbers of the given table."""

    keepers: dict[int, int]
    """Removed row → row that is kept instead."""
    conflicts: tuple[tuple[int, ...], ...]
    """Rows that are one picture under several labels; all are removed."""
    across_splits: int
    """Pictures (not rows) that were in more than one split."""

    @property
    def dropped(self) -> NDArray[np.int64]:
        """All removed rows, ascending."""
        rows = [*self.keepers, *(row for rows in self.conflicts for row in rows)]
        return np.array(sorted(rows), dtype=np.int64)


def find_duplicates(rows: pd.DataFrame) -> Duplicates:
    """Find identical pictures by `pixel_sha256`.

    One picture under one label is kept once: in the test split rather than in val, in val rather
    than in train, and there the first by source. Under several labels no copy can be trusted.

    Args:
        rows: with columns pixel_sha256, label, split, source.
    """
    numbered = rows[["pixel_sha256", "label", "split", "source"]].assign(row=np.arange(len(rows)))
    repeated = numbered[rows["pixel_sha256"].duplicated(keep=False).to_numpy()]
    repeated = repeated.assign(rank=repeated["split"].map(PRECEDENCE)).sort_values(["rank", "source"])
    by_pixels = repeated.groupby("pixel_sha256", sort=False)
    one_label = by_pixels["label"].transform("nunique") == 1
    stays = by_pixels["row"].transform("first")
    goes = one_label & (repeated["row"] != stays)
    conflicting = repeated[~one_label].groupby("pixel_sha256", sort=False)["row"]
    return Duplicates(
        keepers=dict(zip(repeated["row"][goes].tolist(), stays[goes].tolist(), strict=True)),
        conflicts=tuple(tuple(numbers.tolist()) for _, numbers in conflicting),
        across_splits=int((by_pixels["split"].nunique() > 1).sum()),
    )


def near_pairs(hashes: NDArray[np.uint64], *, bits: int) -> NDArray[np.int64]:
    """All pairs of hashes at most `bits` apart.

    Two hashes that differ in at most b of 64 bits agree in at least one of b + 1 bands, so only
    those in a common bucket are compared (Norouzi et al., 2012, "Fast Search in Hamming Space with
    Multi-Index Hashing").

    Args:
        hashes: uint64 [n], all different.
        bits: largest Hamming distance, 0–64.

    Returns:
        int64 [pairs, 2], each row ascending, rows in ascending order, no pair twice.
    """
    if bits == 0:
        return np.empty((0, 2), np.int64)
    bands = bits + 1 if _BITS // (bits + 1) >= _MIN_BAND_BITS else 1
    found = [np.empty((0, 2), np.int64)]
    for band in range(bands):
        if bands == 1:
            keys = np.zeros_like(hashes)
        else:
            low, high = band * _BITS // bands, (band + 1) * _BITS // bands
            keys = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(keys, kind="stable")
        edges = np.flatnonzero(np.diff(keys[order])) + 1
        for start, stop in zip([0, *edges], [*edges, len(order)], strict=True):
            if stop - start > 1:
                found.append(_pairs_in(hashes, order[start:stop], bits))
    return np.unique(np.concatenate(found), axis=0)


def _pairs_in(hashes: NDArray[np.uint64], members: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Compare every member of one bucket with every later one, block by block."""
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(members), _BLOCK):
        rows = members[start : start + _BLOCK]
        for other in range(start, len(members), _BLOCK):
            columns = members[other : other + _BLOCK]
            distance = np.bitwise_count(hashes[rows][:, None] ^ hashes[columns][None, :])
            left, right = np.nonzero(distance <= bits)
            pairs = np.stack([rows[left], columns[right]], axis=1)
            found.append(np.sort(pairs[pairs[:, 0] < pairs[:, 1]], axis=1))
            if other > start:
                found.append(np.sort(pairs[pairs[:, 0] > pairs[:, 1]], axis=1))
    return np.concatenate(found)


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """Pictures whose perceptual hashes are close; nothing is removed for it."""

    elsewhere: NDArray[np.bool_]
    """[n]: another split has one."""
    within: NDArray[np.bool_]
    """[n]: the same split has another one."""
    pairs: NDArray[np.int64]
    """int64 [pairs, 2]: rows, one pair for every two close hashes."""


def find_near_duplicates(rows: pd.DataFrame, *, bits: int) -> NearDuplicates:
    """Find similar pictures by `perceptual_hash`.

    Args:
        rows: with columns perceptual_hash and split.
        bits: largest Hamming distance.
    """
    values = np.array([int(text, 16) for text in rows["perceptual_hash"]], dtype=np.uint64)
    hashes, first, which = np.unique(values, return_index=True, return_inverse=True)
    splits = rows["split"].map(PRECEDENCE).to_numpy()
    # Per hash, not per picture: a thousand black pictures share one hash and would make 500,000 pairs.
    own = np.zeros((len(hashes), len(PRECEDENCE)), np.int64)
    np.add.at(own, (which, splits), 1)
    pairs = near_pairs(hashes, bits=bits)
    around = own.copy()
    np.add.at(around, pairs[:, 0], own[pairs[:, 1]])
    np.add.at(around, pairs[:, 1], own[pairs[:, 0]])
    near = around[which]
    same = near[np.arange(len(splits)), splits] - 1
    return NearDuplicates(
        elsewhere=near.sum(axis=1) - same - 1 > 0,
        within=same > 0,
        pairs=_row_pairs(first, which, pairs),
    )


def _row_pairs(
    first: NDArray[np.int64], which: NDArray[np.int64], pairs: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Pairs of rows that show each close pair of hashes, and each shared hash, once per extra row."""
    shared = np.flatnonzero(first[which] != np.arange(len(which)))
    same = np.stack([first[which[shared]], shared], axis=1)
    close = np.sort(first[pairs], axis=1)
    return np.unique(np.concatenate([same, close]), axis=0)
