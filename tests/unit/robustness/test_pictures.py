"""The draw: fixed, in proportion to the classes, independent of the order of the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipelines.robustness.corruptions import CORRUPTIONS, SEVERITIES
from pipelines.robustness.pictures import CASES, draw, draw_digest, right_share

COUNTS = {"angry": 50, "happy": 100, "sad": 10}


@pytest.fixture
def manifest() -> pd.DataFrame:
    rows = [
        {
            "path": f"{split}/{label}/{index:03}",
            "split": split,
            "label": label,
            "source": f"{split}{label}{index}",
        }
        for split in ("train", "test")
        for label, count in COUNTS.items()
        for index in range(count)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("most", [16, 32, 80])
def test_each_class_has_its_share(manifest: pd.DataFrame, most: int) -> None:
    rows = draw(manifest, most=most, seed=3)
    assert len(rows) == most
    assert set(rows["split"]) == {"test"}
    assert rows["path"].is_unique
    for label, count in COUNTS.items():
        assert (rows["label"] == label).sum() == pytest.approx(most * count / 160, abs=1)


def test_order_of_the_manifest_does_not_matter_the_seed_does(manifest: pd.DataFrame) -> None:
    rows = draw(manifest, most=40, seed=3)
    shuffled = draw(manifest.sample(frac=1, random_state=0), most=40, seed=3)
    assert list(shuffled["path"]) == list(rows["path"]) == sorted(rows["path"])
    assert draw_digest(shuffled) == draw_digest(rows)
    other = draw(manifest, most=40, seed=4)
    assert set(other["path"]) != set(rows["path"])
    assert draw_digest(other) != draw_digest(rows)


def test_a_small_split_is_taken_whole(manifest: pd.DataFrame) -> None:
    assert len(draw(manifest, most=1000, seed=0)) == 160


def test_a_larger_draw_holds_the_smaller_one(manifest: pd.DataFrame) -> None:
    assert set(draw(manifest, most=20, seed=1)["path"]) < set(draw(manifest, most=60, seed=1)["path"])


def test_right_share_goes_by_the_models_own_class_order() -> None:
    answers = np.zeros((2, len(CORRUPTIONS), len(SEVERITIES), 3))
    answers[0, ..., 2] = 1.0  # always `angry`, in this model's order
    answers[1, ..., 0] = 1.0
    answers[1, 0, 0] = (0.0, 1.0, 0.0)
    found = right_share(answers, ["angry", "sad"], ("sad", "happy", "angry"))
    assert found == pytest.approx([1.0, 1 - 1 / CASES])
