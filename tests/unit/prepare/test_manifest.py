from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.dataset import Dataset, read_dataset, write_dataset
from pipelines.core.errors import ManifestCorrupt, ResultCorrupt
from pipelines.core.manifest import COLUMNS, SCHEMA, digest, read_manifest, write_manifest
from serving.contract import InputSpec

SPEC = InputSpec(height=32, width=32)
DATASET = Dataset(classes=("happy", "sad"), input=SPEC, dataset="a" * 64)


def row(path: str, /, **changes: Any) -> dict[str, Any]:
    return {
        "path": path,
        "split": "train",
        "label": "happy",
        "group": "id1",
        "width": 48,
        "height": 48,
        "mode": "L",
        "bytes": 1000,
        "pixel_sha256": "0" * 64,
        "perceptual_hash": "0" * 16,
        "brightness": 0.5,
        "contrast": 0.2,
        "sharpness": 0.01,
        "exif_orientation": 1,
        "source": "data/happy/a.png",
    } | changes


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def test_rows_come_back_sorted_by_path(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.parquet", table(row("b"), row("a"), row("c")))
    frame = read_manifest(tmp_path / "m.parquet")
    assert frame["path"].tolist() == ["a", "b", "c"]
    assert tuple(frame.columns) == COLUMNS


def test_some_columns_can_be_asked_for(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.parquet", table(row("a")))
    assert list(read_manifest(tmp_path / "m.parquet", ["label", "path"]).columns) == ["label", "path"]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_manifest(tmp_path / name, table(row("a"), row("b")))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def damage_nothing_there(path: Path) -> None:
    path.unlink()


def damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def damage_text(path: Path) -> None:
    path.write_text("path,label\n")


def damage_column_missing(path: Path) -> None:
    pq.write_table(table(row("a")).drop(["label"]), path)


def damage_column_extra(path: Path) -> None:
    pq.write_table(table(row("a")).append_column("mood", pa.array(["x"])), path)


def damage_column_type(path: Path) -> None:
    pq.write_table(table(row("a")).set_column(4, "width", pa.array(["48"])), path)


def damage_order(path: Path) -> None:
    pq.write_table(table(row("a")).select(list(COLUMNS[::-1])), path)


def damage_no_rows(path: Path) -> None:
    pq.write_table(SCHEMA.empty_table(), path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_nothing_there, "no such file"),
        (damage_cut, "not a readable Parquet file"),
        (damage_text, "not a readable Parquet file"),
        (damage_column_missing, "the column 'label' is missing"),
        (damage_column_extra, "the column 'mood' is unknown"),
        (damage_column_type, "the column 'width' holds string, expected int32"),
        (damage_order, "another order"),
        (damage_no_rows, "no rows"),
    ],
)
def test_a_damaged_manifest_is_named_with_what_to_do(tmp_path: Path, damage: Any, reason: str) -> None:
    path = tmp_path / "manifest.parquet"
    write_manifest(path, table(row("a")))
    damage(path)
    with pytest.raises(ManifestCorrupt, match=reason) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)
    assert "dvc repro" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_digest_is_of_content_independent_of_order_and_container() -> None:
    rows = table(row("a"), row("b", label="sad"))
    frame = rows.to_pandas()
    expected = digest(rows, SPEC)
    assert digest(frame, SPEC) == expected
    assert digest(frame.iloc[::-1], SPEC) == expected
    assert len(expected) == 64


@pytest.mark.parametrize("column", ["path", "split", "label", "group", "pixel_sha256"])
def test_what_training_depends_on_changes_the_digest(column: str) -> None:
    assert digest(table(row("a", **{column: "x"})), SPEC) != digest(table(row("a", **{column: "y"})), SPEC)


@pytest.mark.parametrize("change", [{"height": 48}, {"color": "gray"}, {"resize": "cubic"}], ids=str)
def test_another_input_is_another_dataset(change: dict[str, Any]) -> None:
    rows = table(row("a"))
    assert digest(rows, replace(SPEC, **change)) != digest(rows, SPEC)


def test_where_the_original_lies_does_not_change_the_digest() -> None:
    assert digest(table(row("a", source="x")), SPEC) == digest(table(row("a", source="y")), SPEC)


def test_values_cannot_run_into_each_other() -> None:
    first, second = row("a", label="b", split="c"), row("a", label="bc", split="")
    assert digest(table(first), SPEC) != digest(table(second), SPEC)


def test_a_dataset_survives_its_file(tmp_path: Path) -> None:
    write_dataset(tmp_path / "dataset.json", DATASET)
    assert read_dataset(tmp_path / "dataset.json") == DATASET


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"classes": ["a"], "dataset": "0", "input": {"height": 1, "width": 1}}'],
    ids=str,
)
def test_a_damaged_dataset_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(text)
    with pytest.raises(ResultCorrupt, match=r"dataset\.json"):
        read_dataset(path)


def test_an_absent_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultCorrupt, match="No such file"):
        read_dataset(tmp_path / "dataset.json")


def test_the_schema_is_what_other_stages_rely_on() -> None:
    assert COLUMNS == (
        "path", "split", "label", "group", "width", "height", "mode", "bytes", "pixel_sha256",
        "perceptual_hash", "brightness", "contrast", "sharpness", "exif_orientation", "source",
    )  # fmt: skip
    assert isinstance(table(row("a")).to_pandas(), pd.DataFrame)
