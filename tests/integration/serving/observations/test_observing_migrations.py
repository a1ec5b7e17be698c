"""Databases that earlier services left are brought up to date; others are refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect, text

from serving.errors import StoreIncomplete, StoreTooNew
from serving.observations.records import Feedback
from serving.observations.store import Batch, Store
from tests.support.observing import NOW, SWITCH, id_of, observation

# What the first service created, as SQLAlchemy wrote it then.
VERSION_1 = """
CREATE TABLE feedback (number {number} NOT NULL, observation_id VARCHAR(36) NOT NULL,
  time {double} NOT NULL, emotion VARCHAR(128) NOT NULL, PRIMARY KEY (number));
CREATE INDEX feedback_by_observation ON feedback (observation_id, number);
CREATE INDEX feedback_by_time ON feedback (time);
CREATE TABLE models (version VARCHAR(64) NOT NULL, sha256 VARCHAR(64) NOT NULL,
  name VARCHAR(256) NOT NULL, classes TEXT NOT NULL, lineage TEXT NOT NULL, PRIMARY KEY (version, sha256));
CREATE TABLE observations (id VARCHAR(36) NOT NULL, time {double} NOT NULL,
  model_version VARCHAR(64) NOT NULL, model_sha256 VARCHAR(64) NOT NULL, level SMALLINT NOT NULL,
  predicted VARCHAR(128) NOT NULL,
  confidence {double} NOT NULL, entropy {double} NOT NULL, brightness {double} NOT NULL,
  contrast {double} NOT NULL, sharpness {double} NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
  faces INTEGER NOT NULL, face_left INTEGER, face_top INTEGER, face_width INTEGER, face_height INTEGER,
  decode_ms {double} NOT NULL, faces_ms {double} NOT NULL, preprocess_ms {double} NOT NULL,
  inference_ms {double} NOT NULL, total_ms {double} NOT NULL, probabilities {bytes} NOT NULL,
  embedding {bytes} NOT NULL, picture VARCHAR(64), PRIMARY KEY (id));
CREATE INDEX observations_by_model ON observations (model_version, time);
CREATE INDEX observations_by_level ON observations (model_version, level, time);
CREATE INDEX observations_by_time ON observations (time);
CREATE TABLE schema_version ("only" BOOLEAN NOT NULL, version INTEGER NOT NULL, PRIMARY KEY ("only"));
CREATE TABLE switches (number {number} NOT NULL, time {double} NOT NULL, from_version VARCHAR(64),
  from_sha256 VARCHAR(64), to_version VARCHAR(64), to_sha256 VARCHAR(64), reason TEXT NOT NULL,
  process VARCHAR(256) NOT NULL, PRIMARY KEY (number));
CREATE INDEX switches_by_time ON switches (time);
INSERT INTO schema_version ("only", version) VALUES (TRUE, 1);
"""
TYPES = {
    "sqlite": {"number": "INTEGER", "double": "DOUBLE", "bytes": "BLOB"},
    "postgresql": {"number": "BIGSERIAL", "double": "DOUBLE PRECISION", "bytes": "BYTEA"},
}
ROW = {
    "id": id_of(1), "time": NOW + 1, "model_version": "3", "model_sha256": "ab" * 32, "level": 0,
    "predicted": "happy", "confidence": 0.75, "entropy": 0.5, "brightness": 0.25, "contrast": 0.125,
    "sharpness": 0.5, "width": 64, "height": 48, "faces": 0, "decode_ms": 1.0, "faces_ms": 2.0,
    "preprocess_ms": 3.0, "inference_ms": 4.0, "total_ms": 10.0,
    "probabilities": struct.pack("<3f", 0.125, 0.75, 0.125), "embedding": struct.pack("<2e", 1.0, -2.0),
}  # fmt: skip


def engine_of(url: str) -> Engine:
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:"))


def execute(url: str, *statements: str, **values: object) -> None:
    engine = engine_of(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement), values)
    engine.dispose()


@pytest.fixture
def first(url: str) -> str:
    """URL of a database as a service of version 1 left it, with one answer."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir()
    types = TYPES[url.partition(":")[0]]
    execute(url, *[one for one in VERSION_1.format(**types).split(";") if one.strip()])
    columns, marks = ", ".join(ROW), ", ".join(f":{name}" for name in ROW)
    execute(url, f"INSERT INTO observations ({columns}) VALUES ({marks})", **ROW)  # noqa: S608 - the test's own
    return url


def layout(url: str) -> dict[str, object]:
    """Every table with its columns and indexes."""
    engine = engine_of(url)
    found = inspect(engine)
    tables = {
        table: (
            {(one["name"], str(one["type"]), one["nullable"]) for one in found.get_columns(table)},
            sorted((str(one["name"]), one["column_names"]) for one in found.get_indexes(table)),
            found.get_pk_constraint(table)["constrained_columns"],
        )
        for table in found.get_table_names()
    }
    engine.dispose()
    return dict(tables)


def test_a_database_of_version_1_becomes_as_a_new_one_and_keeps_its_rows(
    first: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(first)
    store.write(
        Batch(
            observations=[observation(2)],
            switches=[SWITCH],
            feedback=[Feedback(observation_id=id_of(1), time=NOW + 5, emotion="sad")],
        )
    )
    old = store.observation(id_of(1))
    assert (old.observation.predicted, old.observation.confidence, old.feedback) == ("happy", 0.75, "sad")
    assert [row.observation.id for row in store.window("3").rows] == [id_of(1), id_of(2)]
    store.close()

    if first.startswith("sqlite"):
        new = f"sqlite:///{tmp_path_factory.mktemp('new') / 'observations.db'}"
    else:
        new = request.getfixturevalue("postgres").new_database()
    fresh = Store(new)
    fresh.prepare()
    fresh.close()
    assert layout(first) == layout(new)


def test_a_database_that_only_bears_the_number_is_refused(first: str) -> None:
    store = Store(first)
    store.prepare()
    store.close()
    execute(first, "ALTER TABLE drift_results DROP COLUMN report")
    with pytest.raises(StoreIncomplete) as refused:
        store.prepare()
    assert refused.value.missing == ("drift_results.report",)
    store.close()


@pytest.mark.parametrize("version", [0, 999])
def test_a_version_that_is_not_known_is_refused(first: str, version: int) -> None:
    execute(first, "UPDATE schema_version SET version = :version", version=version)
    store = Store(first)
    with pytest.raises(StoreTooNew) as refused:
        store.prepare()
    assert refused.value.found == version
    store.close()
    # Nothing was changed in it.
    assert "drift_results" not in json.dumps(list(layout(first)))
