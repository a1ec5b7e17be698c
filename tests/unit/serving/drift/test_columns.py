"""Which columns are compared, and the embedding's principal components."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from serving.drift.columns import COMPONENTS, columns_of
from serving.drift.data import Reference, Table, read_reference, table_of
from serving.errors.operation import ReferenceUnusable
from serving.observations.records import StoredObservation
from tests.support.drift import reference_columns, write_reference
from tests.support.observing import observation


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    return read_reference(write_reference(tmp_path, reference_columns(seed=1)))


@pytest.fixture
def window(tmp_path: Path) -> Table:
    return read_reference(write_reference(tmp_path / "other", reference_columns(people=10, seed=2))).table


def test_components_are_those_of_the_reference(reference: Reference, window: Table) -> None:
    compared = {column.name: column for column in columns_of(reference, window).compared}
    fitted = PCA(COMPONENTS).fit(reference.table.embedding)
    for index in range(COMPONENTS):
        column = compared[f"embedding_{index + 1}"]
        axis = fitted.components_[index]
        sign = np.sign(axis[np.abs(axis).argmax()])
        ours = sign * fitted.transform(reference.table.embedding)[:, index]
        theirs = sign * fitted.transform(window.embedding)[:, index]
        assert column.reference == pytest.approx(ours)
        assert column.window == pytest.approx(theirs)


def test_all_columns_of_the_service_are_compared(reference: Reference, window: Table) -> None:
    columns = columns_of(reference, window)
    names = [column.name for column in columns.compared]
    assert names == [
        *("brightness", "contrast", "sharpness", "confidence", "entropy"),
        *(f"embedding_{number}" for number in range(1, 6)),
        "predicted",
    ]
    assert columns.left_out == {"face_size": "the test split has no column face_size"}


def test_face_size_is_compared_where_the_reference_has_it(reference: Reference, window: Table) -> None:
    def with_sizes(table: Table) -> Table:
        sizes = np.linspace(40, 90, len(table))
        return replace(table, numbers={**table.numbers, "face_size": sizes})

    columns = columns_of(replace(reference, table=with_sizes(reference.table)), with_sizes(window))
    assert "face_size" in [column.name for column in columns.compared]
    assert columns.left_out == {}


def test_novelty_is_compared_where_reference_and_window_have_it(reference: Reference, window: Table) -> None:
    def with_novelty(table: Table) -> Table:
        return replace(table, numbers={**table.numbers, "novelty": np.linspace(0, 0.9, len(table))})

    known = replace(reference, table=with_novelty(reference.table))
    assert "novelty" in [column.name for column in columns_of(known, with_novelty(window)).compared]
    some = columns_of(known, window)
    assert "novelty" not in [column.name for column in some.compared]
    assert some.left_out["novelty"] == "some observations have none"
    assert "novelty" not in some.broken
    assert "novelty" not in columns_of(reference, with_novelty(window)).left_out


def test_novelty_is_read_from_the_reference_and_from_observations(tmp_path: Path) -> None:
    columns = reference_columns(seed=1)
    values = np.linspace(0, 1, len(columns["group"]))
    table = read_reference(write_reference(tmp_path, {**columns, "novelty": values})).table
    np.testing.assert_array_equal(table.numbers["novelty"], values)
    rows = [StoredObservation(observation=observation(number)) for number in range(3)]
    np.testing.assert_array_equal(
        table_of(rows).numbers["novelty"], [row.observation.novelty for row in rows]
    )
    rows.append(StoredObservation(observation=observation(3, novelty=None)))
    assert "novelty" not in table_of(rows).numbers


def test_what_never_varies_or_is_not_a_number_is_left_out(reference: Reference, window: Table) -> None:
    known = {**reference.table.numbers, "contrast": np.full(len(reference.table), 0.2)}
    seen = {**window.numbers, "sharpness": np.full(len(window), np.nan)}
    columns = columns_of(
        replace(reference, table=replace(reference.table, numbers=known)), replace(window, numbers=seen)
    )
    assert columns.left_out["contrast"] == "the test split has one value only"
    rows = len(window)
    assert columns.left_out["sharpness"] == f"{rows} of {rows} values of the window are not numbers"
    assert not {"contrast", "sharpness"} & {column.name for column in columns.compared}


def test_a_few_values_that_are_not_numbers_cost_only_themselves(reference: Reference, window: Table) -> None:
    seen = window.numbers["sharpness"].copy()
    seen[[2, 5]] = np.nan, np.inf
    embedding = window.embedding.copy()
    embedding[7, 0] = np.inf
    columns = columns_of(
        reference, replace(window, numbers={**window.numbers, "sharpness": seen}, embedding=embedding)
    )
    compared = {column.name: column for column in columns.compared}
    assert {name: column.dropped for name, column in compared.items() if column.dropped} == {
        "sharpness": 2, **{f"embedding_{number}": 1 for number in range(1, 6)}
    }  # fmt: skip
    now = compared["sharpness"].facts()[1]
    assert now["mean"] == pytest.approx(np.delete(window.numbers["sharpness"], [2, 5]).mean())


def test_embeddings_of_another_length_are_of_another_model(reference: Reference, window: Table) -> None:
    short = replace(window, embedding=window.embedding[:, :3])
    with pytest.raises(ReferenceUnusable, match="has 8 features, the observations' has 3"):
        columns_of(reference, short)


def test_facts_are_means_and_shares(reference: Reference, window: Table) -> None:
    compared = {column.name: column for column in columns_of(reference, window).compared}
    before, now = compared["brightness"].facts()
    assert before["mean"] == pytest.approx(np.mean(reference.table.numbers["brightness"]))
    assert now["deviation"] == pytest.approx(np.std(window.numbers["brightness"]))
    before, now = replace(
        compared["predicted"], reference=np.array(["a", "b", "b", "b"]), window=np.array(["c", "b"])
    ).facts()
    assert before == {"a": 0.25, "b": 0.75, "c": 0.0}
    assert now == {"a": 0.0, "b": 0.5, "c": 0.5}
