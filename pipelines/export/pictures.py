"""Prepared pictures of one split, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import ClassMissing, DataError
from pipelines.core.manifest import read_manifest
from serving.contract.arrays import Image

BATCH = 64
"""Pictures that are read and run together."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Paths and classes of the pictures of one split."""

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    """Class indices, [n]."""


def read_split(manifest: Path, split: str, *, classes: Sequence[str]) -> Split:
    """List the pictures of one split, in the manifest's order.

    Args:
        manifest: `manifest.parquet`, beside the folder its paths lead into.
        split: `train`, `val` or `test`.
        classes: names in index order.

    Raises:
        ManifestCorrupt: the manifest is absent or of another shape.
        ClassMissing: the split is empty, or has a class the network was not trained on.
    """
    rows = read_manifest(manifest, columns=["path", "split", "label"])
    rows = rows[rows["split"] == split]
    unknown = sorted(set(rows["label"]) - set(classes))
    if rows.empty or unknown:
        what = f"the split {split!r} of {manifest} "
        what += f"holds the unknown class {unknown[0]!r}" if unknown else "is empty"
        raise ClassMissing(what=what, remedy="run `dvc repro` to train on the present data")
    index = {name: number for number, name in enumerate(classes)}
    return Split(
        paths=tuple(manifest.parent / path for path in rows["path"]),
        labels=np.array([index[label] for label in rows["label"]], np.int64),
    )


def read_pictures(paths: Sequence[Path]) -> Image:
    """Read prepared pictures into uint8 [n, H, W, 3], RGB.

    Raises:
        DataError: one is absent or damaged.
    """
    return np.stack([_read(path) for path in paths])


def in_batches(paths: Sequence[Path], size: int = BATCH) -> Iterator[Image]:
    """The same, at most `size` pictures at a time."""
    for start in range(0, len(paths), size):
        yield read_pictures(paths[start : start + size])


def _read(path: Path) -> Image:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise DataError(
            f"{path}: not readable, expected a picture made by `prepare`; "
            "run `dvc repro --force --single-item prepare`"
        )
    return np.asarray(picture, np.uint8)
