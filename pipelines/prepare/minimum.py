"""Moves groups of small sets until every class has its minimum in every split.

A hash of each group gives every split its share on average only: of 30 pictures of a class, a validation
split of 12 % has none one time in 46. A class that is short takes groups from a split that has more than
the minimum.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pandas as pd

from pipelines.prepare.splitting import PRECEDENCE, position


@dataclass(frozen=True, slots=True)
class Move:
    """A group that is in another split than its hash says."""

    group: str
    came_from: str
    """The split that its hash says."""
    split: str
    """The split that it is in."""
    images: int


def fill_up(rows: pd.DataFrame, *, seed: int, minimum: int, movable: Collection[str]) -> list[Move]:
    """Choose groups to move so that every class has at least `minimum` images in every movable split.

    Of the groups that can be moved the one of the lowest hash goes first, so that the choice depends on
    the groups alone. None is moved that would leave its own split short of any class. Classes of too few
    images stay short.

    Args:
        rows: with columns group, split and label.
        seed: of the split.
        minimum: images of each class in each split.
        movable: splits that the hash decides; those that the data bring stay as they are.
    """
    groups = _Groups(rows, seed=seed)
    # A group may be moved twice; what counts is where it ends.
    for split in sorted(movable, key=PRECEDENCE.__getitem__):
        donors = sorted(set(movable) - {split}, key=PRECEDENCE.__getitem__, reverse=True)
        for label in groups.labels:
            while groups.count[split, label] < minimum:
                group = next(groups.spare(label, donors, minimum), None)
                if group is None:
                    break
                groups.move(group, split)
    return groups.moves()


class _Groups:
    """Groups with their splits and their images by class."""

    def __init__(self, rows: pd.DataFrame, *, seed: int) -> None:
        triples = list(zip(rows["group"], rows["split"], rows["label"], strict=True))
        self.labels = sorted({label for _, _, label in triples})
        self.count = Counter((split, label) for _, split, label in triples)
        self._split = {group: split for group, split, _ in triples}
        self._first = dict(self._split)
        self._images: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for group, _, label in triples:
            self._images[group][label] += 1
        self._seed = seed
        self._order: dict[str, list[str]] = {}

    def spare(self, label: str, donors: Collection[str], minimum: int) -> Iterator[str]:
        """Groups with images of `label` that their split can spare: by donor, then by hash."""
        for donor in donors:
            for group in self._with(label):
                if self._split[group] == donor and all(
                    self.count[donor, other] - images >= minimum
                    for other, images in self._images[group].items()
                ):
                    yield group

    def move(self, group: str, split: str) -> None:
        for label, images in self._images[group].items():
            self.count[self._split[group], label] -= images
            self.count[split, label] += images
        self._split[group] = split

    def moves(self) -> list[Move]:
        return [
            Move(group, came_from, self._split[group], self._images[group].total())
            for group, came_from in sorted(self._first.items())
            if self._split[group] != came_from
        ]

    def _with(self, label: str) -> list[str]:
        if label not in self._order:
            named = [group for group, images in self._images.items() if images[label]]
            self._order[label] = sorted(named, key=lambda group: (position(group, self._seed), group))
        return self._order[label]
