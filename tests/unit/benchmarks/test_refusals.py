"""Spoiled training sets have the fault that their name says, and nothing else; an outcome is judged by it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from benchmarks.refusals import FAULTS, Fault, contradictions, table, write_data
from pipelines.gate.record import GateVerdict
from tests.support.results import check, verdict

AS_IT_IS, PERMUTED, COLLAPSED, BLURRED = FAULTS


def sample(folder: Path) -> pd.DataFrame:
    """Striped pictures of three classes: 20 of each to train on, 2 of each to test."""
    rows = []
    for split, count in (("train", 20), ("test", 2)):
        for label in ("happy", "neutral", "sad"):
            for number in range(count):
                source = f"data/{label}/{label}_{split}_{number:02}.png"
                picture = np.zeros((16, 16, 3), np.uint8)
                picture[::2] = 200 + number
                (folder / source).parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / source), picture)
                rows.append({"split": split, "label": label, "source": source})
    return pd.DataFrame(rows)


def written(fault: Fault, folder: Path) -> dict[str, Counter[str]]:
    """Split → number of pictures of each class, after checking that the test pictures are the originals."""
    manifest = sample(folder / "from")
    write_data(fault, manifest, folder / "from", folder / "to")
    for path in (folder / "to" / "test").rglob("*.png"):
        assert path.read_bytes() == (folder / "from/data" / path.parent.name / path.name).read_bytes()
    return {
        split: Counter(path.parent.name for path in (folder / "to" / split).rglob("*.*"))
        for split in ("train", "test")
    }


@pytest.mark.parametrize("fault", [AS_IT_IS, PERMUTED, BLURRED], ids=lambda fault: fault.shown)
def test_classes_keep_their_numbers(fault: Fault, tmp_path: Path) -> None:
    assert written(fault, tmp_path) == {
        "train": dict.fromkeys(("happy", "neutral", "sad"), 20),
        "test": dict.fromkeys(("happy", "neutral", "sad"), 2),
    }


def test_a_collapsed_class_keeps_what_validation_asks_for(tmp_path: Path) -> None:
    assert written(COLLAPSED, tmp_path)["train"] == {"happy": 20, "neutral": 30, "sad": 10}


def test_permuted_labels_say_nothing_about_the_picture(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = ["happy"] * 3500 + ["sad"] * 3500
    renamed = PERMUTED.relabel(labels, random)
    same = np.mean([before == after for before, after in zip(labels, renamed, strict=True)])
    # Standard deviation of a share of 7,000 halves: 0.006.
    assert same == pytest.approx(0.5, abs=0.03)


def test_blurred_pictures_have_no_stripes(tmp_path: Path) -> None:
    written(BLURRED, tmp_path)
    picture = cv2.imread(str(tmp_path / "to/train/happy/happy_train_00.png"))
    assert picture is not None
    assert np.ptp(picture.astype(int)) < 20


def judged(*failed: str) -> GateVerdict:
    """A verdict in which these checks failed and the others passed."""
    names = {"min_accuracy", "min_macro_f1", "min_class_recall.sad", "max_accuracy_drop", *failed}
    return verdict([check(name, passed=name not in failed, value=0.5) for name in sorted(names)])


def test_an_outcome_that_the_fault_does_not_explain_is_named() -> None:
    assert list(contradictions(AS_IT_IS, judged())) == []
    assert len(list(contradictions(AS_IT_IS, judged("min_accuracy")))) == 1
    assert list(contradictions(BLURRED, judged("min_accuracy", "max_accuracy_drop"))) == []
    assert len(list(contradictions(BLURRED, judged("min_accuracy")))) == 1
    # Passed, and neither check failed.
    assert len(list(contradictions(BLURRED, judged()))) == 3


def test_the_table_names_the_failed_checks() -> None:
    *_, first, second = table({AS_IT_IS: judged(), BLURRED: judged("min_accuracy")})
    assert first.endswith("| passed | – |")
    assert second.endswith("| failed | `min_accuracy` |")
