"""Prepared pictures come in the manifest's order; one that is gone is named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.core.errors import ClassMissing, DataError
from pipelines.export.pictures import in_batches, read_pictures, read_split
from tests.support.networks import CLASSES, write_prepared


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    write_prepared(tmp_path, per_class=2, side=8)
    return tmp_path


def test_labels_follow_the_order_of_the_classes(prepared: Path) -> None:
    split = read_split(prepared / "manifest.parquet", "val", classes=CLASSES)
    assert [path.parent.name for path in split.paths] == [CLASSES[label] for label in split.labels]
    assert all("val" in path.parts for path in split.paths)


def test_pictures_are_red_first(prepared: Path) -> None:
    path = prepared / "red.png"
    cv2.imwrite(str(path), np.full((8, 8, 3), (0, 0, 255), np.uint8))
    assert read_pictures([path])[0, 0, 0].tolist() == [255, 0, 0]


def test_batches_hold_every_picture_once(prepared: Path) -> None:
    paths = read_split(prepared / "manifest.parquet", "test", classes=CLASSES).paths
    batches = list(in_batches(paths, 4))
    assert [len(batch) for batch in batches] == [4, 2]
    np.testing.assert_array_equal(np.concatenate(batches), read_pictures(paths))


def test_a_picture_that_is_gone_is_named(prepared: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png"):
        read_pictures([prepared / "gone.png"])


def test_a_split_without_pictures_is_named(prepared: Path) -> None:
    with pytest.raises(ClassMissing, match="'holdout'"):
        read_split(prepared / "manifest.parquet", "holdout", classes=CLASSES)
