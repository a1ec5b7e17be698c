from __future__ import annotations

import pandas as pd
import pytest

from pipelines.validate.checks import class_table, image_table


def manifest(*rows: tuple[str, str, str, str, str]) -> pd.DataFrame:
    """Rows of (split, label, group, pixel_sha256, perceptual_hash)."""
    return pd.DataFrame(rows, columns=["split", "label", "group", "pixel_sha256", "perceptual_hash"])


def test_what_holds_between_rows_is_counted_into_columns() -> None:
    table = image_table(
        manifest(
            ("train", "happy", "id1", "p", f"{0:016x}"),
            ("test", "happy", "id1", "q", f"{1:016x}"),
            ("train", "sad", "id2", "p", f"{0xFFFF:016x}"),
            ("val", "sad", "id3", "r", f"{0xFFFF0000:016x}"),
        ),
        near_duplicate_bits=2,
    )
    assert table["splits_with_same_pixels"].tolist() == [1, 1, 1, 1]
    assert table["labels_with_same_pixels"].tolist() == [2, 1, 2, 1]
    assert table["splits_with_same_group"].tolist() == [2, 2, 1, 1]
    assert table["near_duplicates_elsewhere"].tolist() == [1, 1, 0, 0]


def test_an_absent_class_has_a_row_of_its_own() -> None:
    rows = [("train", "happy", "g", "p", "0")] * 6 + [("train", "sad", "g", "p", "0")] * 2
    rows += [
        ("val", "happy", "g", "p", "0"),
        ("test", "happy", "g", "p", "0"),
        ("test", "sad", "g", "p", "0"),
    ]
    table = class_table(manifest(*rows), labels=["happy", "sad"]).set_index(["split", "label"])
    assert table["images"].to_dict() == {
        ("train", "happy"): 6,
        ("train", "sad"): 2,
        ("val", "happy"): 1,
        ("val", "sad"): 0,
        ("test", "happy"): 1,
        ("test", "sad"): 1,
    }
    assert table["share"].loc["train"].tolist() == [0.75, 0.25]
    assert table["share_off_train"].loc["val"].tolist() == pytest.approx([0.25, 0.25])
    assert table["times_rarer"].loc["train"].tolist() == [1.0, 3.0]
    assert table["times_rarer"].loc[["val", "test"]].isna().all()


def test_an_absent_class_in_train_has_a_ratio() -> None:
    table = class_table(manifest(*[("train", "happy", "g", "p", "0")] * 4), labels=["happy", "sad"])
    train = table[table["split"] == "train"].set_index("label")["times_rarer"]
    assert train.to_dict() == {"happy": 1.0, "sad": 8.0}
