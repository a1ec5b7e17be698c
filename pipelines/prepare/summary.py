"""`reports/prepare.json`: what was found, what was removed and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipelines.core.data_results import (
    Conflict,
    ConflictList,
    Copy,
    CopyList,
    Groups,
    Moved,
    MovedList,
    NearList,
    NearPair,
    PrepareReport,
    Removed,
    RemovedList,
    Shares,
)
from pipelines.core.manifest import SPLITS
from pipelines.core.paths import PREPARE_REPORT, RELABEL
from pipelines.prepare.duplicates import Duplicates, NearDuplicates
from pipelines.prepare.minimum import Move
from pipelines.prepare.relabel import Relabelled

MAX_LISTED = 1000
"""Entries of each list in the report; the counts beside it are of all."""
_NAMED = 10
"""Entries that the terminal shows of a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Results of a run of `prepare`."""

    found: int
    corrected: Relabelled
    read: pd.DataFrame
    """Rows of the manifest before duplicates went."""
    kept: pd.DataFrame
    """Rows of the manifest."""
    unreadable: Sequence[Removed]
    no_face: Sequence[Removed]
    spanning: Sequence[Removed]
    passed_over: Sequence[Removed]
    """Entries among the originals that are not pictures of a class, such as a FIFO."""
    ungrouped: int
    duplicates: Duplicates
    moved: Sequence[Move]
    """Groups in another split than their hash says, so that no class is short."""
    near: NearDuplicates
    near_bits: int


def report(outcome: Outcome) -> PrepareReport:
    """Make the report; lists are sorted, and cut at `MAX_LISTED`."""
    copies = _copies(outcome)
    conflicts = _conflicts(outcome)
    removed = {
        "unreadable": len(outcome.unreadable),
        "no_face": len(outcome.no_face),
        "group_in_another_split": len(outcome.spanning),
        "duplicate": len(copies),
        "conflicting_labels": sum(len(conflict.sources) for conflict in conflicts),
    }
    if outcome.corrected.left_out:
        removed["left_out_by_hand"] = len(outcome.corrected.left_out)
    return PrepareReport(
        found=outcome.found,
        kept=len(outcome.kept),
        removed=removed,
        splits=_counts(outcome.kept),
        shares=_shares(outcome.kept),
        groups=Groups(count=int(outcome.kept["group"].nunique()), images_without_a_group=outcome.ungrouped),
        modes=dict(sorted(Counter(outcome.kept["mode"]).items())),
        unreadable=RemovedList(**_listed(outcome.unreadable)),
        no_face=RemovedList(**_listed(outcome.no_face)),
        group_in_another_split=RemovedList(**_listed(outcome.spanning)),
        duplicates=CopyList(
            pictures=len({copy.kept for copy in copies}),
            pictures_across_splits=outcome.duplicates.across_splits,
            removed_by_split=_removed_by_split(copies),
            **_listed(copies),
        ),
        conflicting_labels=ConflictList(pictures=len(conflicts), **_listed(conflicts)),
        near_duplicates=_near(outcome),
        passed_over=RemovedList(**_listed(outcome.passed_over)) if outcome.passed_over else None,
        moved_for_the_minimum=_moved(outcome.moved) if outcome.moved else None,
        relabelled=outcome.corrected.changed or None,
    )


def describe(data: PrepareReport) -> str:
    """The report in a few lines, for the terminal."""
    lines = [f"{data.kept:,} of {data.found:,} images kept"]
    for split, counts in data.splits.items():
        classes = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        lines.append(f"  {split:<5} {sum(counts.values()):>7,}   {classes}")
    removed = {name.replace("_", " "): count for name, count in data.removed.items() if count}
    if removed:
        lines.append("removed: " + ", ".join(f"{name} {count:,}" for name, count in removed.items()))
    if data.relabelled:
        lines.append(f"labels corrected by {RELABEL}: {data.relabelled:,}")
    if (passed_over := data.passed_over) is not None:
        named = ", ".join(f"{item.source} ({item.reason})" for item in passed_over.entries[:_NAMED])
        lines.append(f"passed over {passed_over.count:,}: {named}{_more(passed_over.count)}")
    if (moved := data.moved_for_the_minimum) is not None:
        into = ", ".join(f"{count:,} images into {split}" for split, count in moved.images.items())
        lines.append(
            f"moved so that no class is below validate.min_per_class_and_split: {into} "
            f"({moved.count:,} groups, listed in {PREPARE_REPORT})"
        )
    near = data.near_duplicates
    lines.append(
        f"near-duplicates (≤ {near.max_bits} bits): {near.images_with_one_in_another_split:,} images "
        f"have one in another split, {near.images_with_one_in_the_same_split:,} in their own"
    )
    return "\n".join(lines)


def _more(count: int) -> str:
    return f" and {count - _NAMED:,} more" if count > _NAMED else ""


def _moved(moves: Sequence[Move]) -> MovedList:
    images = Counter[str]()
    for move in moves:
        images[move.split] += move.images
    entries = [
        Moved(group=move.group, came_from=move.came_from, split=move.split, images=move.images)
        for move in moves
    ]
    return MovedList(images=dict(sorted(images.items())), **_listed(entries))


def _counts(rows: pd.DataFrame) -> dict[str, dict[str, int]]:
    counts = Counter(zip(rows["split"], rows["label"], strict=True))
    labels = sorted(rows["label"].unique())
    return {split: {label: counts[split, label] for label in labels} for split in SPLITS}


def _shares(rows: pd.DataFrame) -> Shares:
    """Each class's share of each split, and how far a split strays from the whole."""
    counts = _counts(rows)
    overall = Counter(rows["label"])
    shares = {
        split: {label: count / max(1, sum(of.values())) for label, count in of.items()}
        for split, of in counts.items()
    }
    largest = max(
        abs(share - overall[label] / len(rows)) for of in shares.values() for label, share in of.items()
    )
    rounded = {split: {label: round(share, 4) for label, share in of.items()} for split, of in shares.items()}
    return Shares(by_split=rounded, largest_difference_from_the_whole=round(largest, 4))


def _copies(outcome: Outcome) -> list[Copy]:
    source, split = outcome.read["source"].tolist(), outcome.read["split"].tolist()
    return [
        Copy(source=source[gone], split=split[gone], kept=source[kept], kept_split=split[kept])
        for gone, kept in sorted(outcome.duplicates.keepers.items())
    ]


def _removed_by_split(copies: Sequence[Copy]) -> dict[str, int]:
    """`train: identical to test` and the like → how many went."""
    counts = Counter(f"{copy.split}, kept in {copy.kept_split}" for copy in copies)
    return dict(sorted(counts.items()))


def _conflicts(outcome: Outcome) -> list[Conflict]:
    source, label = outcome.read["source"].tolist(), outcome.read["label"].tolist()
    return [
        Conflict(sources=tuple(source[row] for row in rows), labels=tuple(label[row] for row in rows))
        for rows in sorted(outcome.duplicates.conflicts)
    ]


def _near(outcome: Outcome) -> NearList:
    near = outcome.near
    source, split = outcome.kept["source"].tolist(), outcome.kept["split"].tolist()
    pairs = [
        NearPair(sources=(source[a], source[b]), splits=(split[a], split[b])) for a, b in near.pairs.tolist()
    ]
    return NearList(
        max_bits=outcome.near_bits,
        images_with_one_in_another_split=int(near.elsewhere.sum()),
        images_with_one_in_the_same_split=int(near.within.sum()),
        **_listed(pairs),
    )


def _listed(entries: Sequence[Any]) -> dict[str, Any]:
    """Return the fields that every list of the report has."""
    shown = tuple(entries[:MAX_LISTED])
    return {"count": len(entries), "listed": len(shown), "entries": shown}
