"""Observations for tests: plausible, and each different from the others."""

from __future__ import annotations

import random
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, create_engine, text

from serving.detection.responses import summarize_output
from serving.observations.records import ModelRecord, Observation, OtherFace, Switch

CLASSES = ("angry", "happy", "sad")
_DAY_S = 86_400.0
NOW = (time.time() // _DAY_S - 1) * _DAY_S
"""Midnight (UTC) before the last one: in the past for every process that a test starts."""
MODEL = ModelRecord(
    name="emotion",
    version="3",
    sha256="ab" * 32,
    classes=CLASSES,
    lineage={"run_id": "f00", "git_commit": None, "dataset": "d5", "sample": True},
)
SWITCH = Switch(
    time=NOW,
    from_version=None,
    from_sha256=None,
    to_version="3",
    to_sha256="ab" * 32,
    reason="first model",
    process="host:1",
    kind="canary",
    promoted_by="anna",
    signature="unchecked",
    signed_by="cd" * 32,
)
OTHER_FACES = (
    OtherFace(predicted="sad", confidence=0.75, box=(300, 10, 100, 110)),
    OtherFace(predicted="happy", confidence=0.5, box=(-5, 200, 90, 95)),
)
"""The second and third face of an answer."""


def id_of(number: int, *, at: float = NOW) -> str:
    """A UUID of version 7, the same for the same number and time."""
    tail = random.Random(number).getrandbits(62)
    return f"{int(at * 1000):012x}7{number & 0xFFF:03x}{tail | 1 << 63:016x}"


def fresh_id(number: int = 0) -> str:
    """One that was made right now."""
    return id_of(number, at=time.time())


def observation(number: int = 0, **changes: Any) -> Observation:
    """One answer; `number` seconds after `NOW` unless `changes` say otherwise."""
    random_numbers = np.random.default_rng(number)
    probabilities = random_numbers.dirichlet([1, 1, 1]).astype(np.float32)
    outcome = summarize_output(probabilities, random_numbers.normal(size=8).astype(np.float32))
    values: dict[str, Any] = {
        "id": id_of(number),
        "time": NOW + number,
        "model_version": MODEL.version,
        "model_sha256": MODEL.sha256,
        "predicted": CLASSES[int(probabilities.argmax())],
        "probabilities": outcome.probabilities,
        "confidence": outcome.confidence,
        "entropy": outcome.entropy,
        "embedding": outcome.embedding,
        "novelty": 0.5 - number / 1e6,
        "brightness": 0.1 + number / 1e6,
        "contrast": 0.2,
        "sharpness": 0.01,
        "width": 640,
        "height": 480,
        "faces": 1,
        "box": (10, -5, 200, 210),
        "decode_ms": 1.5,
        "faces_ms": 4.0,
        "preprocess_ms": 0.5,
        "inference_ms": 3.0,
        "total_ms": 9.5,
    }
    return Observation(**values | changes)


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
# What the second one added.
VERSION_2 = """
CREATE TABLE drift_results (number {number} NOT NULL, time {double} NOT NULL,
  model_version VARCHAR(64) NOT NULL, model_sha256 VARCHAR(64) NOT NULL, verdict VARCHAR(16) NOT NULL,
  result TEXT NOT NULL, report {bytes}, PRIMARY KEY (number));
CREATE INDEX drift_results_by_model ON drift_results (model_version, model_sha256, number);
CREATE INDEX drift_results_by_time ON drift_results (time);
CREATE TABLE drift_lease ("only" BOOLEAN NOT NULL, holder VARCHAR(64) NOT NULL, until {double} NOT NULL,
  PRIMARY KEY ("only"));
INSERT INTO drift_results (number, time, model_version, model_sha256, verdict, result)
  VALUES (7, 1.5, '3', 'ab', 'unknown', '{{}}');
UPDATE schema_version SET version = 2;
"""
# What the next ones added: kinds of switches, novelty, labels, disagreement, signatures.
VERSION_7 = """
ALTER TABLE switches ADD COLUMN kind VARCHAR(16) DEFAULT 'live' NOT NULL;
UPDATE switches SET kind = 'canary' WHERE substr(reason, 1, 7) = 'canary ';
ALTER TABLE switches ADD COLUMN promoted_by TEXT;
ALTER TABLE observations ADD COLUMN novelty {double};
ALTER TABLE observations ADD COLUMN disagreement {double};
CREATE TABLE labels (observation_id VARCHAR(36) NOT NULL, labeller VARCHAR(128) NOT NULL,
  time {double} NOT NULL, label VARCHAR(128) NOT NULL, PRIMARY KEY (observation_id, labeller));
CREATE INDEX labels_by_labeller ON labels (labeller, label);
CREATE INDEX labels_by_time ON labels (time);
ALTER TABLE switches ADD COLUMN signature VARCHAR(16);
ALTER TABLE switches ADD COLUMN signed_by VARCHAR(64);
UPDATE schema_version SET version = 7;
"""
# Reason, as services of version 1 and 2 wrote it → the kind that they read from it.
SWITCHES = {
    "models:/emotion@production names version 3": "live",
    "kept on disk from before": "live",
    "canary starts: 10 % of the requests are answered by version 4": "canary",
    "canary stops: it was switched off": "canary",
    "canary is paused for 600 s: it fails": "canary",
    "canaryland.onnx names version local": "live",
}
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


# As a service of version 1 or 2 writes it, which knows no kind.
INSERT_SWITCH = """
INSERT INTO switches (time, to_version, to_sha256, reason, process)
VALUES (:time, '3', 'ab', :reason, 'host:1')
"""


def engine_of(url: str) -> Engine:
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:"))


def execute(url: str, *statements: str, **values: object) -> None:
    engine = engine_of(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement), values)
    engine.dispose()


def write_earlier_database(url: str, *, version: int) -> None:
    """Make a database as a service of schema version 1, 2 or 7 left it: `ROW` and `SWITCHES`."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    types = TYPES[url.partition(":")[0]]
    script = VERSION_1 + (VERSION_2 if version >= 2 else "")
    execute(url, *_statements(script, types))
    columns, marks = ", ".join(ROW), ", ".join(f":{name}" for name in ROW)
    execute(url, f"INSERT INTO observations ({columns}) VALUES ({marks})", **ROW)  # noqa: S608 - the test's own
    for number, reason in enumerate(SWITCHES):
        execute(url, INSERT_SWITCH, time=number, reason=reason)
    if version == 7:
        execute(url, *_statements(VERSION_7, types))


def _statements(script: str, types: dict[str, str]) -> list[str]:
    return [one for one in script.format(**types).split(";") if one.strip()]
