"""The note that saves asking the registry."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.core import paths
from pipelines.core.io import write_json
from pipelines.register.status import SETTLED_CACHE, cache_settled, is_settled, store_state


@pytest.fixture
def store(tmp_path: Path) -> str:
    write_json(tmp_path / paths.GATE, {"passed": True})
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("CREATE TABLE t (x)")
        database.commit()
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def insert(root: Path, *, mode: str) -> None:
    with closing(sqlite3.connect(root / "mlflow.db", isolation_level=None)) as database:
        database.execute(f"PRAGMA journal_mode={mode}")
        database.execute("INSERT INTO t VALUES (1)")
        # As a server would keep it: closing the last connection folds the WAL file back in.
        assert mode != "wal" or (root / "mlflow.db-wal").stat().st_size > 0


def test_holds_while_nothing_changes(tmp_path: Path, store: str) -> None:
    cache_settled(tmp_path, store_state(store), "case")
    assert is_settled(tmp_path, store_state(store), "case")


def test_another_case_is_asked(tmp_path: Path, store: str) -> None:
    cache_settled(tmp_path, store_state(store), "case")
    assert not is_settled(tmp_path, store_state(store), "other")


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_any_write_to_the_store_voids_it(tmp_path: Path, store: str, mode: str) -> None:
    cache_settled(tmp_path, store_state(store), "case")
    insert(tmp_path, mode=mode)
    assert not is_settled(tmp_path, store_state(store), "case")


def test_reading_the_store_does_not_void_it(tmp_path: Path, store: str) -> None:
    cache_settled(tmp_path, store_state(store), "case")
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as database:
        database.execute("SELECT * FROM t").fetchall()
        database.execute("BEGIN IMMEDIATE")
        database.execute("ROLLBACK")
    assert is_settled(tmp_path, store_state(store), "case")


def test_edited_or_missing_gate_file_voids_it(tmp_path: Path, store: str) -> None:
    cache_settled(tmp_path, store_state(store), "case")
    write_json(tmp_path / paths.GATE, {"passed": False})
    assert not is_settled(tmp_path, store_state(store), "case")
    (tmp_path / paths.GATE).unlink()
    assert not is_settled(tmp_path, store_state(store), "case")


def test_deleted_model_file_voids_it(tmp_path: Path, store: str) -> None:
    model = tmp_path / "model.onnx"
    model.touch()
    cache_settled(tmp_path, store_state(store), "case", stored=model)
    assert is_settled(tmp_path, store_state(store), "case")
    model.unlink()
    assert not is_settled(tmp_path, store_state(store), "case")


@pytest.mark.parametrize("damage", ["{", "[]", "{}", "1"])
def test_damaged_note_is_not_a_note(tmp_path: Path, store: str, damage: str) -> None:
    cache_settled(tmp_path, store_state(store), "case")
    (tmp_path / SETTLED_CACHE).write_text(damage)
    assert not is_settled(tmp_path, store_state(store), "case")


@pytest.mark.parametrize(
    "uri", ["http://mlflow.example:5000", "postgresql://db/mlflow", "sqlite:///absent.db"]
)
def test_store_that_cannot_be_looked_at_is_always_asked(tmp_path: Path, uri: str) -> None:
    assert store_state(uri) is None
    assert not is_settled(tmp_path, None, "case")
