"""Assigns split and file name to each original before any is read."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.core.source_images import Source

PRECEDENCE = {"test": 0, "val": 1, "train": 2}
"""A picture that only one split may keep stays in the first of these, so that the test split is stable."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One original with its place."""

    source: Source
    group: str
    """The person, by `group_pattern`; without one, the picture's own locator."""
    split: str
    """train, val or test."""
    path: str
    """Of the prepared picture, relative to prepared/."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Every original, with its place or set aside."""

    placed: tuple[Placed, ...]
    spanning: tuple[Source, ...]
    """Set aside: their group is also in a given split of higher precedence."""
    ungrouped: int
    """Originals whose name `group_pattern` does not match; each is its own group."""
    drawn: frozenset[str]
    """Splits that the hash decides: those that the data do not bring, and train."""


def place(
    sources: Sequence[Source], *, seed: int, pattern: str | None, val_fraction: float, test_fraction: float
) -> Placement:
    """Give every original its group, split and file name.

    Splits given by the data are kept; missing ones are drawn by a hash of (seed, group), so that
    a group is never in two splits and added pictures do not move others from one split to another.
    """
    groups = [group_of(source.locator, pattern) for source in sources]
    given = {source.split for source in sources} - {None}
    fractions = {
        split: fraction
        for split, fraction in (("test", test_fraction), ("val", val_fraction))
        if split not in given
    }
    highest = _highest_split(zip(groups, sources, strict=True))
    kept: list[tuple[Source, str, str]] = []
    spanning = []
    for source, group in zip(sources, groups, strict=True):
        split = source.split or "train"
        if highest[group] != split:
            spanning.append(source)
            continue
        if split == "train":
            split = carve(group, seed=seed, fractions=fractions)
        kept.append((source, group, split))
    paths = _paths([(source, split) for source, _, split in kept])
    return Placement(
        placed=tuple(
            Placed(source=source, group=group, split=split, path=path)
            for (source, group, split), path in zip(kept, paths, strict=True)
        ),
        spanning=tuple(spanning),
        drawn=frozenset({"train", *fractions}),
        ungrouped=0 if pattern is None else sum(g == s.locator for g, s in zip(groups, sources, strict=True)),
    )


def carve(group: str, *, seed: int, fractions: dict[str, float]) -> str:
    """The split of one group: its position falls into one of the fractions."""
    rest = position(group, seed)
    for split, fraction in fractions.items():
        if rest < fraction:
            return split
        rest -= fraction
    return "train"


def position(group: str, seed: int) -> float:
    """The hash of a group as a number in [0, 1)."""
    value = hashlib.sha256(f"{seed}\0{group}".encode()).digest()
    return int.from_bytes(value[:8], "big") / 2**64


def group_of(locator: str, pattern: str | None) -> str:
    """The person of an original, by the first group of `group_pattern`; without one, its own locator."""
    if pattern is not None:
        found = re.search(pattern, locator.rpartition("/")[2])
        if found and found.group(1):
            return found.group(1)
    return locator


def _highest_split(pairs: Iterable[tuple[str, Source]]) -> dict[str, str]:
    highest: dict[str, str] = {}
    for group, source in pairs:
        split = source.split or "train"
        if PRECEDENCE[split] < PRECEDENCE[highest.get(group, "train")]:
            highest[group] = split
        else:
            highest.setdefault(group, split)
    return highest


def _paths(placed: list[tuple[Source, str]]) -> list[str]:
    """`images/<split>/<class>/<stem>.png`; where two would clash, both get a hash of their locator.

    Compared without case, since some file systems do.
    """
    wanted = [f"images/{split}/{source.label}/{_stem(source)}" for source, split in placed]
    count = Counter(path.casefold() for path in wanted)
    return [
        f"{path}.png" if count[path.casefold()] == 1 else f"{path}-{_hash_of(source.locator)}.png"
        for path, (source, _) in zip(wanted, placed, strict=True)
    ]


def path_in(split: str, path: str, locator: str, *, taken: Collection[str]) -> str:
    """`path` of a prepared picture in another split; with a hash of its locator where that name is taken.

    Args:
        split: the other one.
        path: as it was, `images/<split>/<class>/<stem>.png`.
        locator: of the original.
        taken: paths of all prepared pictures, without case.
    """
    images, _, rest = path.split("/", 2)
    moved = f"{images}/{split}/{rest}"
    if moved.casefold() not in taken:
        return moved
    return f"{moved.removesuffix('.png')}-{_hash_of(locator)}.png"


def _stem(source: Source) -> str:
    name = source.locator.rpartition("/")[2]
    table, mark, row = name.partition(".csv#")
    return f"{table}-{int(row):05d}" if mark else PurePosixPath(name).stem


def _hash_of(locator: str) -> str:
    return hashlib.sha256(locator.encode()).hexdigest()[:8]
