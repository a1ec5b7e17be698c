"""Results about the data that several stages read: `prepare.json`, `validation.json` and `passed.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from pipelines.core.records import OPTIONAL

LISTED = Field(alias="list")
"""Annotation of the entries that a list of the report shows."""
_FROM = Field(alias="from")
_TO = Field(alias="to")


@dataclass(frozen=True, kw_only=True)
class _Listed:
    """A list of the report, cut after a number of entries."""

    count: int
    """All entries."""
    listed: int
    """Entries that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """One original that was not prepared."""

    source: str
    reason: str

    def __str__(self) -> str:
        """Return a description in one line."""
        return f"{self.source}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class RemovedList(_Listed):
    """Originals that were not prepared."""

    entries: Annotated[tuple[Removed, ...], LISTED]


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A picture that was removed because another one has the same pixels."""

    source: str
    split: str
    kept: str
    """Source of the other one."""
    kept_split: str

    def __str__(self) -> str:
        """Return a description in one line."""
        return f"{self.source} ({self.split}) = {self.kept} ({self.kept_split})"


@dataclass(frozen=True, kw_only=True)
class CopyList(_Listed):
    """Pictures that were removed because others have the same pixels."""

    pictures: int
    """Different pictures that have copies."""
    pictures_across_splits: int
    removed_by_split: Mapping[str, int]
    """Number by `train, kept in test` and so on."""
    entries: Annotated[tuple[Copy, ...], LISTED]


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """Pictures with the same pixels and different labels; all of them were removed."""

    sources: tuple[str, ...]
    labels: tuple[str, ...]
    """In the same order."""

    def __str__(self) -> str:
        """Return a description in one line."""
        pairs = zip(self.sources, self.labels, strict=True)
        return " = ".join(f"{source} ({label})" for source, label in pairs)


@dataclass(frozen=True, kw_only=True)
class ConflictList(_Listed):
    """Pictures with the same pixels and different labels."""

    pictures: int
    """Different pictures."""
    entries: Annotated[tuple[Conflict, ...], LISTED]


@dataclass(frozen=True, kw_only=True)
class NearPair:
    """Two pictures with almost the same perceptual hash; both were kept."""

    sources: tuple[str, str]
    splits: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class NearList(_Listed):
    """Pairs of pictures with almost the same perceptual hash."""

    max_bits: int
    images_with_one_in_another_split: int
    images_with_one_in_the_same_split: int
    entries: Annotated[tuple[NearPair, ...], LISTED]


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A group that was moved to another split, so that no class has too few pictures there."""

    group: str
    came_from: Annotated[str, _FROM]
    split: Annotated[str, _TO]
    images: int


@dataclass(frozen=True, kw_only=True)
class MovedList(_Listed):
    """Groups that were moved to another split."""

    images: Mapping[str, int]
    """Number of pictures by new split."""
    entries: Annotated[tuple[Moved, ...], LISTED]


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How similar the splits are."""

    by_split: Mapping[str, Mapping[str, float]]
    """Share of each class in each split."""
    largest_difference_from_the_whole: float


@dataclass(frozen=True, kw_only=True)
class Groups:
    """People, or other groups of pictures that stay in one split."""

    count: int
    images_without_a_group: int


@dataclass(frozen=True, kw_only=True)
class PrepareReport:
    """What was found, what was removed and why: `reports/prepare.json`. Lists are sorted."""

    found: int
    kept: int
    removed: Mapping[str, int]
    """Number by reason."""
    splits: Mapping[str, Mapping[str, int]]
    """Number of kept pictures by split and class."""
    shares: Shares
    groups: Groups
    modes: Mapping[str, int]
    """Number of kept pictures by Pillow mode of the original."""
    unreadable: RemovedList
    no_face: RemovedList
    group_in_another_split: RemovedList
    duplicates: CopyList
    conflicting_labels: ConflictList
    near_duplicates: NearList
    passed_over: Annotated[RemovedList | None, OPTIONAL] = None
    """Files that are not a picture of a class; None without such files."""
    moved_for_the_minimum: Annotated[MovedList | None, OPTIONAL] = None
    """None if no group was moved."""
    relabelled: Annotated[int | None, OPTIONAL] = None
    """Pictures whose label `data/relabel.csv` changed; None without one."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One expectation about the data, and whether it holds."""

    name: str
    severity: str
    """`critical`, or `warning`."""
    passed: bool
    observed: float | None
    """Number of rows that fail, or the value of an aggregate."""
    expected: str
    """The rule."""
    message: str
    """What was found, then the rule."""


@dataclass(frozen=True, kw_only=True)
class ValidationReport:
    """All expectations about the data: `reports/validation.json`."""

    passed: bool
    """Whether all critical ones hold."""
    dataset: str
    """Hash of the data set."""
    checks: tuple[Expectation, ...]


@dataclass(frozen=True, kw_only=True)
class ValidationStamp:
    """The data set that passed: `validation/passed.json`."""

    dataset: str
