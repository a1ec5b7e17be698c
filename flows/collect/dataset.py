"""The data of a clone: their contents, and how a new version is added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from flows.errors import CollectRefused, WorkspaceFailed
from flows.repro import data
from flows.repro.workspace import Workspace
from pipelines.core import paths
from pipelines.core.errors import ManifestCorrupt
from pipelines.core.manifest import read_manifest
from pipelines.core.params import PrepareParams
from pipelines.core.pixel_table import NAME as CSV_NAME
from pipelines.core.source_images import Source, read_image
from pipelines.prepare.duplicates import find_duplicates
from pipelines.prepare.hashing import pixel_sha256
from pipelines.prepare.listing import find_sources
from pipelines.prepare.minimum import fill_up
from pipelines.prepare.splitting import Placement, place
from serving.contract import ImageError

POINTER = Path(f"{paths.DATA}.dvc")
_HELD_OUT = ("val", "test")


@dataclass(frozen=True, kw_only=True)
class DatasetContents:
    """Classes and pictures of the data."""

    classes: frozenset[str]
    folder: Path
    """Folder with the classes' folders; those of the training split if the data have splits."""
    held_out: frozenset[str]
    """SHA-256 of the pixels of each picture in val and test."""
    others: frozenset[str]
    """SHA-256 of the pixels of all other pictures."""


def read_contents(root: Path, params: PrepareParams, *, seed: int, minimum: int) -> DatasetContents:
    """Read the contents of a clone's data, with the splits and hashes of `prepare`.

    Pictures that the last `prepare` has hashed are not read again.

    Raises:
        CollectRefused: the data are in a form to which pictures cannot be added.
        DataError: the data are inconsistent.
    """
    folder = root / paths.DATA
    if (folder / CSV_NAME).is_file():
        raise CollectRefused(
            f"the data are {paths.DATA}/{CSV_NAME}, a published table that pictures cannot be added to; "
            f"convert it to pictures in {paths.DATA}/<class>/ to collect more"
        )
    if not (root / POINTER).is_file():
        raise CollectRefused(
            f"there is no {POINTER}, so the data have no versions; run `dvc add {paths.DATA}` and commit it"
        )
    found = find_sources(folder, root=root)
    sources = found.sources
    placement = place(
        sources,
        seed=seed,
        pattern=params.group_pattern,
        val_fraction=params.val_fraction,
        test_fraction=params.test_fraction,
    )
    hashes = _hashes(root, sources)
    splits = _splits(placement, hashes, seed=seed, minimum=minimum)
    held_out = {sha256 for locator, sha256 in hashes.items() if splits.get(locator) in _HELD_OUT}
    return DatasetContents(
        classes=frozenset(source.label for source in sources),
        folder=found.classes_in,
        held_out=frozenset(held_out),
        others=frozenset(hashes.values()) - held_out,
    )


def _splits(placement: Placement, hashes: Mapping[str, str], *, seed: int, minimum: int) -> dict[str, str]:
    """Locator → split, as in `prepare`: copies are removed first, then small classes are filled up."""
    rows = pd.DataFrame(
        [
            (item.source.locator, item.source.label, item.split, item.group, hashes[item.source.locator])
            for item in placement.placed
            if item.source.locator in hashes
        ],
        columns=["source", "label", "split", "group", "pixel_sha256"],
    )
    kept = rows.drop(find_duplicates(rows).dropped)
    moved = {
        move.group: move.split for move in fill_up(kept, seed=seed, minimum=minimum, movable=placement.drawn)
    }
    return {
        source: moved.get(group, split)
        for source, group, split in zip(rows["source"], rows["group"], rows["split"], strict=True)
    }


def add_version(workspace: Workspace) -> str | None:
    """Add the data as a new version to DVC and push it; returns the remote, None if there is no remote.

    Raises:
        WorkspaceFailed: DVC cannot add or push it.
    """
    added = workspace.dvc("add", "--quiet", str(paths.DATA))
    if added.status != 0:
        raise WorkspaceFailed(
            what="the new version of the data", reason=added.reason, remedy="check disk and DVC's settings"
        )
    data.leave_sample_remote(workspace.root / POINTER)
    remote = data.default_remote(workspace)
    if remote is not None:
        pushed = workspace.dvc("push", "--quiet", "--remote", remote, str(POINTER))
        if pushed.status != 0:
            raise WorkspaceFailed(
                what=f"the new version of the data to the remote {remote}",
                reason=pushed.reason,
                remedy="check the remote and start the run again",
            )
    return remote


def _hashes(root: Path, sources: Sequence[Source]) -> dict[str, str]:
    """Locator → SHA-256 of its pixels, for all readable pictures."""
    known = _prepared(root)
    found = {}
    for source in sources:
        sha256, size = known.get(source.locator, ("", -1))
        if size == (root / source.locator).stat().st_size:
            found[source.locator] = sha256
            continue
        try:
            found[source.locator] = pixel_sha256(read_image(source.locator, root))
        except (ImageError, OSError):
            continue  # `prepare` skips it too
    return found


def _prepared(root: Path) -> Mapping[str, tuple[str, int]]:
    """Locator → hash and file size from the last `prepare`; empty if it has not run."""
    try:
        rows = read_manifest(root / paths.MANIFEST, ["source", "pixel_sha256", "bytes"])
    except ManifestCorrupt:
        return {}
    pairs = zip(rows["pixel_sha256"].tolist(), rows["bytes"].tolist(), strict=True)
    return dict(zip(rows["source"].tolist(), pairs, strict=True))
