"""What `prepare` and `validate` leave behind, with drawn faces: for tests of what comes after them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from pipelines.core import paths
from pipelines.core.data_results import (
    Conflict,
    ConflictList,
    Copy,
    CopyList,
    Expectation,
    Groups,
    NearList,
    PrepareReport,
    Removed,
    RemovedList,
    Shares,
    ValidationReport,
)
from pipelines.core.dataset import Dataset, write_dataset
from pipelines.core.manifest import SCHEMA, digest, read_manifest, write_manifest
from pipelines.core.records import write_record
from serving.contract import InputSpec, image_statistics

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
SIDE = 64
_COUNTS = {"train": 16, "val": 6, "test": 14}
_DARK = (40, 25, 20)
# How the brows slant and the arc of the mouth, by expression: (px, degrees from, degrees to).
_EXPRESSIONS = {
    "angry": (3, 205, 335),
    "disgust": (2, 190, 290),
    "fear": (-3, 0, 360),
    "happy": (0, 15, 165),
    "neutral": (0, 65, 115),
    "sad": (-4, 200, 340),
    "surprise": (-1, 0, 360),
}


def draw_face(label: str, rng: np.random.Generator) -> np.ndarray:
    """uint8 [64, 64, 3]: a round face whose brows and mouth say what it shows."""
    canvas = np.full((SIDE, SIDE, 3), rng.integers(60, 200, 3), np.uint8)
    skin = tuple(int(value) for value in rng.integers((120, 90, 70), (250, 215, 190)))
    x, y = 32 + int(rng.integers(-3, 4)), 33 + int(rng.integers(-3, 4))
    slant, start, end = _EXPRESSIONS[label]
    wide = label in ("fear", "surprise")
    cv2.ellipse(canvas, (x, y), (20, 26), 0, 0, 360, skin, -1, cv2.LINE_AA)
    for side in (-1, 1):
        cv2.circle(canvas, (x + side * 8, y - 5), 3 if wide else 2, _DARK, -1, cv2.LINE_AA)
        inner, outer = (x + side * 4, y - 11 + slant), (x + side * 12, y - 11 - slant // 2)
        cv2.line(canvas, inner, outer, _DARK, 2, cv2.LINE_AA)
    size = (4, 6) if wide else (8, 5)
    cv2.ellipse(canvas, (x, y + 13), size, 0, start, end, (120, 30, 40), -1 if wide else 2, cv2.LINE_AA)
    return np.clip(canvas + rng.normal(0, 6, canvas.shape), 0, 255).astype(np.uint8)


def write_data(root: Path, classes: Sequence[str] = CLASSES) -> str:
    """Write `prepared/`, `reports/prepare.json` and `reports/validation.json`; return the dataset's hash."""
    rng = np.random.default_rng(0)
    rows = [
        _write_picture(root, split, label, index, rng)
        for split, count in _COUNTS.items()
        for position, label in enumerate(classes)
        # Classes of different size, as real ones are.
        for index in range(count + 3 * position * (split == "train"))
    ]
    write_manifest(root / paths.MANIFEST, pa.Table.from_pylist(rows, schema=SCHEMA))
    manifest = read_manifest(root / paths.MANIFEST)
    spec = InputSpec(height=SIDE, width=SIDE)
    dataset = digest(manifest, spec)
    write_dataset(root / paths.DATASET, Dataset(classes=tuple(classes), input=spec, dataset=dataset))
    write_record(root / paths.PREPARE_REPORT, prepare_report(len(rows)))
    write_record(root / paths.VALIDATION_REPORT, validation_report(dataset))
    return dataset


def _write_picture(
    root: Path, split: str, label: str, index: int, rng: np.random.Generator
) -> dict[str, Any]:
    image = draw_face(label, rng)
    name = f"id{index:03d}{split}_{label}_0"
    path = root / paths.PREPARED_IMAGES / split / label / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return {
        "path": path.relative_to(root / paths.PREPARED).as_posix(),
        "split": split,
        "label": label,
        "group": name.split("_")[0],
        "width": 96,
        "height": 96,
        "mode": "L" if index % 5 == 0 else "RGB",
        "bytes": 3000,
        "pixel_sha256": hashlib.sha256(image.tobytes()).hexdigest(),
        "perceptual_hash": "0" * 16,
        **asdict(image_statistics(image)),
        "exif_orientation": 1,
        "source": f"data/{label}/{name}.jpg",
    }


def prepare_report(kept: int) -> PrepareReport:
    """As `prepare` writes it, with something of each kind removed."""
    duplicate = Copy(source="data/sad/copy.jpg", split="train", kept="data/sad/one.jpg", kept_split="test")
    conflict = Conflict(sources=("data/fear/a.jpg", "data/surprise/b.jpg"), labels=("fear", "surprise"))
    unreadable = Removed(source="data/happy/broken.jpg", reason="the file ends too early")
    nothing = RemovedList(count=0, listed=0, entries=())
    return PrepareReport(
        found=kept + 4,
        kept=kept,
        removed={
            "unreadable": 1,
            "no_face": 0,
            "group_in_another_split": 0,
            "duplicate": 1,
            "conflicting_labels": 2,
        },
        splits={},
        shares=Shares(by_split={}, largest_difference_from_the_whole=0.0),
        groups=Groups(count=65, images_without_a_group=0),
        modes={"L": 90, "RGB": kept - 90},
        unreadable=RemovedList(count=1, listed=1, entries=(unreadable,)),
        no_face=nothing,
        group_in_another_split=nothing,
        duplicates=CopyList(
            pictures=1,
            pictures_across_splits=1,
            removed_by_split={"train, kept in test": 1},
            count=1,
            listed=1,
            entries=(duplicate,),
        ),
        conflicting_labels=ConflictList(pictures=1, count=1, listed=1, entries=(conflict,)),
        near_duplicates=NearList(
            max_bits=2,
            images_with_one_in_another_split=3,
            images_with_one_in_the_same_split=5,
            count=0,
            listed=0,
            entries=(),
        ),
    )


def validation_report(dataset: str) -> ValidationReport:
    """As `validate` writes it: passed, with one warning."""
    return ValidationReport(
        passed=True,
        dataset=dataset,
        checks=(
            expectation("labels", message="every label is known"),
            expectation("no_group_across_splits", message="no person is in two splits"),
            expectation(
                "class_ratio",
                severity="warning",
                passed=False,
                message="the most frequent class has 11.2 times the images of the rarest",
            ),
        ),
    )


def expectation(name: str, *, message: str, severity: str = "critical", passed: bool = True) -> Expectation:
    """One expectation about the data."""
    return Expectation(
        name=name, severity=severity, passed=passed, observed=0.0, expected="as it is", message=message
    )
