"""Checks that every class has a picture in every split; the error says what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from pipelines.core.data_results import Removed
from pipelines.core.errors import ClassMissing
from pipelines.core.manifest import SPLITS
from pipelines.prepare.splitting import Placement


def check_presence(
    kept: pd.DataFrame, placement: Placement, *, labels: Sequence[str], failures: Sequence[Removed]
) -> None:
    """Make sure that every class is in every split.

    Args:
        kept: rows of the manifest.
        placement: where the originals went, and which splits were drawn.
        labels: all classes.
        failures: originals that could not be used.

    Raises:
        ClassMissing: a class has no picture in a split.
    """
    there = Counter(zip(kept["split"], kept["label"], strict=True))
    for label in labels:
        if not any(there[split, label] for split in SPLITS):
            raise _unusable(label, placement, failures)
        for split in SPLITS:
            if not there[split, label]:
                raise _absent(split, kept[kept["label"] == label], label, drawn=split in placement.drawn)


def _unusable(label: str, placement: Placement, failures: Sequence[Removed]) -> ClassMissing:
    sources = {item.source.locator for item in placement.placed if item.source.label == label}
    failed = [item for item in failures if item.source in sources]
    first = f" (the first: {failed[0].source}: {failed[0].reason})" if failed else ""
    return ClassMissing(
        what=f"none of the {len(sources)} pictures of the class {label!r} can be used: "
        f"{len(failed)} cannot be read or show no face{first}, "
        f"{len(sources) - len(failed)} are copies of pictures of other classes",
        remedy="replace them, or remove the class",
    )


def _absent(split: str, rows: pd.DataFrame, label: str, *, drawn: bool) -> ClassMissing:
    """Args: rows, of the class."""
    what = f"split {split!r} has no picture of the class {label!r}, which has {len(rows)}"
    groups = rows["group"].nunique()
    people = f"{groups} {'person' if groups == 1 else 'people'}"
    if not drawn:
        return ClassMissing(
            what=f"{what} elsewhere, and the data bring this split",
            remedy=f"put pictures of it there, or remove {split!r} so that `prepare` draws it",
        )
    if groups < len(rows):
        return ClassMissing(
            what=f"{what} of {people} by prepare.group_pattern, too few for all splits",
            remedy="add pictures of other people, or correct the pattern if it takes several people for one",
        )
    return ClassMissing(what=f"{what}, too few for all splits", remedy="add pictures of this class")
