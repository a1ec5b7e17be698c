"""The tables of the observation database, and how values become rows.

    schema_version   one row: which layout this is
    models           every model that was live
    observations     one row per answer
    feedback         true emotions sent by clients; the newest of each face of an observation counts
    labels           labels of kept pictures by people, one of each person
    switches         when which process changed its model, and why
    drift_results    whether a model's observations have moved away from its reference, and by how much
    drift_lease      one row: which process computes the next of them

Times are seconds since 1970 (UTC) as doubles. There are no foreign keys: feedback may reach the database
before its observation does, and rows are deleted in batches.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, fields
from operator import attrgetter

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    RowMapping,
    SmallInteger,
    String,
    Table,
    Text,
    select,
)

from serving.observations.records import ModelRecord, Observation, OtherFace, StoredObservation, Switch

SCHEMA_VERSION = 8
"""Raise it with every change, which needs a step in `serving.observations.database`; a service that knows an
older version only refuses the database."""
MAX_LEVEL = 24
"""Of `level`: 2^24 · 10⁴ rows can be sampled down to 10⁴ without reading more than twice as many."""

metadata = MetaData()

schema_version = Table(
    "schema_version",
    metadata,
    Column("only", Boolean, primary_key=True, comment="always true: there is one row"),
    Column("version", Integer, nullable=False),
)
models = Table(
    "models",
    metadata,
    Column("version", String(64), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("name", String(256), nullable=False),
    Column("classes", Text, nullable=False, comment="JSON array, in the order of probabilities"),
    Column("lineage", Text, nullable=False, comment="JSON object"),
)
observations = Table(
    "observations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("time", Double, nullable=False),
    Column("model_version", String(64), nullable=False),
    Column("model_sha256", String(64), nullable=False),
    Column(
        "level", SmallInteger, nullable=False, comment="k with probability 2^-(k+1): rows ≥ k are a sample"
    ),
    Column("predicted", String(128), nullable=False),
    Column("confidence", Double, nullable=False),
    Column("entropy", Double, nullable=False, comment="nats"),
    Column("brightness", Double, nullable=False),
    Column("contrast", Double, nullable=False),
    Column("sharpness", Double, nullable=False),
    Column("width", Integer, nullable=False, comment="px"),
    Column("height", Integer, nullable=False, comment="px"),
    Column("faces", Integer, nullable=False),
    Column("face_left", Integer, comment="px; empty when the whole picture was looked at"),
    Column("face_top", Integer),
    Column("face_width", Integer),
    Column("face_height", Integer),
    Column("decode_ms", Double, nullable=False),
    Column("faces_ms", Double, nullable=False),
    Column("preprocess_ms", Double, nullable=False),
    Column("inference_ms", Double, nullable=False),
    Column("total_ms", Double, nullable=False),
    Column("probabilities", LargeBinary, nullable=False, comment="little-endian float32 [classes]"),
    Column("embedding", LargeBinary, nullable=False, comment="little-endian float16 [D]"),
    Column("picture", String(64), comment="name inside the folder of kept pictures"),
    Column("novelty", Double, comment="empty when the model does not say"),
    Column("disagreement", Double, comment="distance from the shadow's answer, 0 to 1; empty without one"),
    Column("other_faces", Text, comment="JSON array of objects, the second largest first; empty without any"),
    Index("observations_by_time", "time"),
    Index("observations_by_model", "model_version", "time"),
    Index("observations_by_level", "model_version", "level", "time"),
)
feedback = Table(
    "feedback",
    metadata,
    # SQLite numbers only an INTEGER key by itself.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("observation_id", String(36), nullable=False),
    Column("time", Double, nullable=False),
    Column("emotion", String(128), nullable=False),
    # The default is for services of version 7 that still run while the first one of version 8 starts.
    Column("face", Integer, nullable=False, server_default="0", comment="index in the answer's faces"),
    Index("feedback_by_observation", "observation_id", "number"),
    Index("feedback_by_time", "time"),
)
labels = Table(
    "labels",
    metadata,
    Column("observation_id", String(36), primary_key=True),
    Column("labeller", String(128), primary_key=True),
    Column("time", Double, nullable=False),
    Column("label", String(128), nullable=False, comment="a class, `not-a-face` or `skip`"),
    Index("labels_by_labeller", "labeller", "label"),
    Index("labels_by_time", "time"),
)
switches = Table(
    "switches",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("from_version", String(64)),
    Column("from_sha256", String(64)),
    Column("to_version", String(64)),
    Column("to_sha256", String(64)),
    Column("reason", Text, nullable=False),
    Column("process", String(256), nullable=False),
    # The default is for services of version 2 that still run while the first one of version 3 starts.
    Column("kind", String(16), nullable=False, server_default="live", comment="`live` or `canary`"),
    Column("promoted_by", Text, comment="user, where it was promoted by command"),
    Column("signature", String(16), comment="`trusted`, `unchecked` or `missing`; of to_version's files"),
    Column("signed_by", String(64), comment="fingerprint of the key that the signature names"),
    Index("switches_by_time", "time"),
)
drift_results = Table(
    "drift_results",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("model_version", String(64), nullable=False),
    Column("model_sha256", String(64), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("result", Text, nullable=False, comment="JSON object"),
    Column("report", LargeBinary, comment="HTML, zlib; of a model's newest verdict only"),
    Index("drift_results_by_model", "model_version", "model_sha256", "number"),
    Index("drift_results_by_time", "time"),
)
drift_lease = Table(
    "drift_lease",
    metadata,
    Column("only", Boolean, primary_key=True, comment="always true: there is one row"),
    Column("holder", String(64), nullable=False),
    Column("until", Double, nullable=False, comment="when another process may take it"),
)

Row = dict[str, str | float | bytes | None]
"""Column → value that a database driver takes."""
_BOX = ("face_left", "face_top", "face_width", "face_height")
_PLAIN = tuple(item.name for item in fields(Observation) if item.name not in ("box", "other_faces"))
_plain_values = attrgetter(*_PLAIN)
_NO_BOX = (None, None, None, None)


def level_of(id: str) -> int:
    """How often an observation survives halving: k with probability 2^-(k+1), the same on every machine."""
    draw = int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest(), "big")
    return min((draw & -draw).bit_length() - 1, MAX_LEVEL) if draw else MAX_LEVEL


def observation_row(observation: Observation) -> Row:
    """Columns of `observations`."""
    row = dict(zip(_PLAIN, _plain_values(observation), strict=True))
    row.update(zip(_BOX, observation.box or _NO_BOX, strict=True))
    row["level"] = level_of(observation.id)
    others = [asdict(face) for face in observation.other_faces]
    row["other_faces"] = json.dumps(others, ensure_ascii=False) if others else None
    return row


def read_observation(row: RowMapping, true_emotions: Mapping[int, str]) -> StoredObservation:
    """The reverse; `true_emotions` are its own of `latest_feedback`."""
    values = {name: row[name] for name in _PLAIN}
    box = None if row["face_left"] is None else tuple(row[name] for name in _BOX)
    observation = Observation(**values, box=box, other_faces=read_other_faces(row["other_faces"]))
    return StoredObservation(observation=observation, true_emotions=true_emotions)


def read_other_faces(value: str | None) -> tuple[OtherFace, ...]:
    """Read the column `other_faces`."""
    faces = json.loads(value) if value else []
    return tuple(
        OtherFace(predicted=one["predicted"], confidence=one["confidence"], box=tuple(one["box"]))
        for one in faces
    )


def latest_feedback(connection: Connection, which: ColumnElement[bool]) -> Mapping[str, Mapping[int, str]]:
    """Return the true emotions of these observations.

    Args:
        connection: to the database.
        which: condition on `observations`.

    Returns:
        Id of an observation with feedback → index of a face → its last feedback.
    """
    query = select(feedback.c.number, feedback.c.observation_id, feedback.c.face, feedback.c.emotion).where(
        feedback.c.observation_id.in_(select(observations.c.id).where(which))
    )
    found: defaultdict[str, dict[int, str]] = defaultdict(dict)
    # Sorted here: asked for the order, SQLite walks through all feedback.
    for _, id, face, emotion in sorted(tuple(row) for row in connection.execute(query)):
        found[id][face] = emotion
    return found


def model_row(model: ModelRecord) -> Row:
    """Columns of `models`."""
    return {
        "version": model.version,
        "sha256": model.sha256,
        "name": model.name,
        "classes": json.dumps(model.classes, ensure_ascii=False),
        "lineage": json.dumps(dict(model.lineage), ensure_ascii=False, sort_keys=True),
    }


def read_model(row: RowMapping) -> ModelRecord:
    """The reverse."""
    return ModelRecord(
        name=row["name"],
        version=row["version"],
        sha256=row["sha256"],
        classes=tuple(json.loads(row["classes"])),
        lineage=json.loads(row["lineage"]),
    )


def switch_row(switch: Switch) -> Row:
    """Columns of `switches`."""
    return {item.name: getattr(switch, item.name) for item in fields(Switch)}


def read_switch(row: RowMapping) -> Switch:
    """The reverse."""
    return Switch(**{item.name: row[item.name] for item in fields(Switch)})
