"""Labels are flipped as often as asked, to another class, and what was found is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.label_errors import flip_project, flipped, scores
from pipelines.core import paths
from pipelines.core.dataset import Dataset, read_dataset, write_dataset
from pipelines.core.manifest import read_manifest
from serving.contract import InputSpec
from tests.support.networks import CLASSES, write_prepared


def test_a_flipped_label_is_of_another_class_and_the_others_stay() -> None:
    labels = np.random.default_rng(0).integers(0, 7, 1000)
    changed, wrong = flipped(labels, 7, 0.1, seed=1)
    assert wrong.sum() == 100
    assert ((changed != labels) == wrong).all()
    assert set(changed.tolist()) == set(range(7))
    again, _ = flipped(labels, 7, 0.1, seed=1)
    assert (again == changed).all()


def test_a_flipped_project_has_the_same_pictures_and_a_share_of_other_labels(tmp_path: Path) -> None:
    root, folder = tmp_path / "checkout", tmp_path / "flipped"
    (root / paths.weights_folder("lenet")).mkdir(parents=True)
    (root / paths.PARAMS).write_text("seed: 1\n")
    before = manifest_of(root / paths.PREPARED)
    for _ in range(2):  # the second time goes on with what the first one left
        wrong = flip_project(root, folder, "lenet", 0.1)
    after = read_manifest(folder / paths.MANIFEST)
    assert (before["label"] != after["label"]).tolist() == wrong.tolist()
    assert wrong.sum() == round(0.1 * len(before))
    assert before.drop(columns="label").equals(after.drop(columns="label"))
    assert all((folder / paths.PREPARED / path).is_file() for path in after["path"])
    one, other = (read_dataset(place / paths.DATASET) for place in (root, folder))
    assert one.classes == other.classes
    assert one.dataset != other.dataset, "checkpoints of the right labels would be used"
    assert (folder / paths.PARAMS).read_text() == "seed: 1\n"


def manifest_of(prepared: Path) -> pd.DataFrame:
    """Write a prepared folder with its manifest and data set; returns the manifest."""
    write_prepared(prepared, per_class=20, side=16)
    write_dataset(
        prepared / "dataset.json",
        Dataset(classes=CLASSES, input=InputSpec(height=16, width=16), dataset="ab" * 32),
    )
    return read_manifest(prepared / "manifest.parquet")


def test_precision_and_recall_by_hand() -> None:
    wrong = np.array([True, True, True, False, False])
    found = np.array([True, False, True, True, False])
    assert scores(found, wrong) == pytest.approx((3, 2 / 3, 2 / 3))
    assert scores(np.zeros(5, np.bool_), wrong) == (0, 0, 0)
