"""The reference beside a model, and what is said of one that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.drift.data import REFERENCE, read_reference
from serving.errors.operation import ReferenceUnusable
from tests.support.drift import reference_columns, write_reference


def test_rows_and_people_are_read(tmp_path: Path) -> None:
    columns = reference_columns(people=4)
    reference = read_reference(write_reference(tmp_path, columns))
    assert reference.number_of_people == 4
    assert reference.people.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert reference.labels.tolist() == list(columns["label"])
    assert reference.table.predicted.tolist() == list(columns["predicted"])
    assert reference.table.numbers["sharpness"] == pytest.approx(columns["sharpness"])
    assert reference.table.embedding == pytest.approx(columns["embedding"].astype(np.float64))


def test_face_sizes_are_read_where_there_are_some(tmp_path: Path) -> None:
    columns = reference_columns(people=2)
    assert "face_size" not in read_reference(write_reference(tmp_path, columns)).table.numbers
    sizes = [48, 48, 64, 64, 80, 80]
    write_reference(tmp_path, columns | {"face_size": sizes})
    assert read_reference(tmp_path).table.numbers["face_size"].tolist() == sizes


@pytest.mark.parametrize("name", ["group", "label", "brightness", "embedding"])
def test_missing_columns_are_named(tmp_path: Path, name: str) -> None:
    columns = reference_columns()
    del columns[name]
    write_reference(tmp_path, columns)
    with pytest.raises(ReferenceUnusable, match=f"the column {name} is missing"):
        read_reference(tmp_path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ReferenceUnusable, match="there is no such file"):
        read_reference(tmp_path)


@pytest.mark.parametrize("data", [b"", b"no parquet", b"PAR1" + bytes(100)], ids=["empty", "text", "torn"])
def test_a_damaged_file_is_said_in_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / REFERENCE).write_bytes(data)
    with pytest.raises(ReferenceUnusable) as error:
        read_reference(tmp_path)
    assert "\n" not in str(error.value)
    assert REFERENCE in str(error.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"brightness": ["bright"] * 90}, "wrong values", id="text"),
        pytest.param({"entropy": [float("nan")] * 90}, "entropy has values that are not numbers", id="nan"),
        pytest.param({"embedding": [[1.0]] * 89 + [[1.0, 2.0]]}, "wrong values", id="ragged"),
        pytest.param({"embedding": np.full((90, 2), np.inf)}, "embedding has values", id="infinite"),
    ],
)
def test_values_that_are_no_numbers_are_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    write_reference(tmp_path, reference_columns() | changes)
    with pytest.raises(ReferenceUnusable, match=said):
        read_reference(tmp_path)


def test_a_table_without_rows_is_said(tmp_path: Path) -> None:
    write_reference(tmp_path, {name: values[:0] for name, values in reference_columns().items()})
    with pytest.raises(ReferenceUnusable, match="has no rows"):
        read_reference(tmp_path)


def test_a_large_reference_is_thinned_to_whole_people(tmp_path: Path) -> None:
    whole = read_reference(write_reference(tmp_path, reference_columns(people=30)))
    thinned = whole.thinned(31)
    assert thinned.number_of_people == 10
    assert np.bincount(thinned.people).tolist() == [3] * 10
    kept = np.isin(whole.table.numbers["brightness"], thinned.table.numbers["brightness"])
    assert thinned.labels.tolist() == whole.labels[kept].tolist()
    assert whole.thinned(90) is whole
    assert whole.thinned(1).number_of_people == 1
