"""The data that drift compares: a model's reference, and a window of observations or of a batch's scores.

The reference is the file `reference.parquet` in the model's folder: the model's answers on held-out pictures.
Every registered version has its own. Its columns: group (the person), label, predicted, confidence, entropy,
brightness, contrast, sharpness, embedding, face_size where the pictures had one, and novelty where the model
has that output.

A window is the live model's newest observations, at most as many as can be compared cheaply, or the Parquet
table of `serving.score` with its embeddings. Both sides have the form of a `Table`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serving.drift.result import WindowRule
from serving.errors.operation import BatchTooSmall, ReferenceUnusable, WindowTooSmall
from serving.observations.records import Observation, StoredObservation
from serving.observations.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

FACE_SIZE = "face_size"
"""Shorter side, px, of the part of the picture that was cut out for the network."""
NOVELTY = "novelty"
"""The model's output of that name: the larger, the less a picture is like those of the training."""
OPTIONAL_NUMBERS = (FACE_SIZE, NOVELTY)
"""Numeric columns that a reference may lack."""
NUMBERS = ("brightness", "contrast", "sharpness", "confidence", "entropy")
"""Numeric columns that both sides always have; see `serving.observations.records`."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of one model's answers."""

    numbers: Mapping[str, NDArray[np.float64]]
    """Name → [rows]."""
    predicted: NDArray[np.str_]
    """The most probable class, [rows]."""
    embedding: NDArray[np.float64]
    """The head's penultimate features, [rows, D]."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.predicted)

    def taken(self, rows: NDArray[np.intp]) -> Table:
        """Return a table of these rows."""
        return Table(
            numbers={name: values[rows] for name, values in self.numbers.items()},
            predicted=self.predicted[rows],
            embedding=self.embedding[rows],
        )


REFERENCE = "reference.parquet"
"""Name of the file, beside the model's."""
_TEXTS = ("group", "label", "predicted")
_EMBEDDING = "embedding"
_SEED = 20


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The model's answers on held-out pictures."""

    table: Table
    labels: NDArray[np.str_]
    """The true emotion of each row."""
    people: NDArray[np.intp]
    """Who is on each row, numbered from 0 without gaps."""

    @property
    def number_of_people(self) -> int:
        """Number of people."""
        return int(self.people.max()) + 1

    def thinned(self, max_rows: int) -> Reference:
        """Return at most about `max_rows` rows: all rows of people who are drawn at random."""
        if len(self.people) <= max_rows:
            return self
        order = np.random.default_rng(_SEED).permutation(self.number_of_people)
        sizes = np.bincount(self.people)[order]
        # At least one person, however many pictures that person has.
        kept = order[: max(1, int(np.searchsorted(np.cumsum(sizes), max_rows, side="right")))]
        rows = np.flatnonzero(np.isin(self.people, kept))
        return Reference(
            table=self.table.taken(rows), labels=self.labels[rows], people=_numbered(self.people[rows])
        )


def read_reference(folder: Path) -> Reference:
    """Read the reference in a model's folder.

    Raises:
        ReferenceUnusable: it is missing, damaged, empty, or lacks columns.
    """
    path = folder / REFERENCE
    table = _read(path)
    wanted = (*_TEXTS, *NUMBERS, _EMBEDDING)
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise ReferenceUnusable(path=str(path), reason=f"the column {', '.join(missing)} is missing")
    if table.num_rows == 0:
        raise ReferenceUnusable(path=str(path), reason="it has no rows")
    return _built(path, table)


def _read(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except FileNotFoundError as error:
        raise ReferenceUnusable(path=str(path), reason="there is no such file") from error
    except (OSError, pa.ArrowException) as error:
        raise ReferenceUnusable(path=str(path), reason=str(error).splitlines()[0]) from error


def _built(path: Path, table: pa.Table) -> Reference:
    import pyarrow as pa

    names = [*NUMBERS, *(name for name in OPTIONAL_NUMBERS if name in table.column_names)]
    try:
        numbers = {name: _numbers(table[name]) for name in names}
        embedding = np.stack(table[_EMBEDDING].to_numpy(zero_copy_only=False)).astype(np.float64)
        texts = {name: np.asarray(table[name].to_pylist(), dtype=np.str_) for name in _TEXTS}
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise ReferenceUnusable(path=str(path), reason=f"a column has wrong values: {error}") from error
    broken = [name for name, values in numbers.items() if not np.isfinite(values).all()]
    if broken or embedding.ndim != 2 or not np.isfinite(embedding).all():
        raise ReferenceUnusable(
            path=str(path),
            reason=f"the column {(broken or [_EMBEDDING])[0]} has values that are not numbers",
        )
    return Reference(
        table=Table(numbers=numbers, predicted=texts["predicted"], embedding=embedding),
        labels=texts["label"],
        people=_numbered(texts["group"]),
    )


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(column.to_numpy(), np.float64)


def _numbered(names: NDArray[np.str_] | NDArray[np.intp]) -> NDArray[np.intp]:
    return np.unique(names, return_inverse=True)[1].astype(np.intp)


@dataclass(frozen=True, kw_only=True)
class Probabilities:
    """The probabilities of a window's rows."""

    classes: tuple[str, ...]
    values: NDArray[np.float64]
    """[rows, classes]."""


@dataclass(frozen=True, kw_only=True)
class CorrectedFace:
    """A face with feedback."""

    true: str
    """Its emotion by the last feedback."""
    predicted: str
    """The most probable class."""


@dataclass(frozen=True, kw_only=True)
class CurrentWindow:
    """The window that is compared with the reference."""

    table: Table
    probabilities: Probabilities | None = None
    """None where the classes of the rows are not known."""
    feedback: tuple[str | None, ...]
    """The true emotion of each row; None without feedback."""
    other_faces: tuple[CorrectedFace, ...] = ()
    """Faces with feedback beside the rows: those of the same pictures that are not the largest."""
    total: int
    """Observations in the window; an estimate when `sampled`."""
    sampled: bool
    since: float
    """Time of the oldest row, seconds since 1970 (UTC)."""
    until: float


def read_current(store: Store, rule: WindowRule, *, version: str, sha256: str) -> CurrentWindow:
    """Read the window of one model.

    Raises:
        WindowTooSmall: it has fewer rows than the rule requires, or none.
        StoreUnavailable: the database is unavailable.
    """
    window = store.window(version, last_n=rule.last_n, last_s=rule.last_s, max_rows=rule.max_rows)
    # Every model that is served from a path has one version, `local`; the digest tells them apart.
    rows = [row for row in window.rows if row.observation.model_sha256 == sha256]
    if len(rows) < max(rule.min_rows, 1):
        raise WindowTooSmall(got=len(rows), expected=rule.min_rows, version=version)
    return CurrentWindow(
        table=table_of(rows),
        probabilities=_probabilities(store, rows),
        feedback=tuple(row.feedback for row in rows),
        other_faces=tuple(face for row in rows for face in _corrected_faces(row)),
        total=round(window.total * len(rows) / len(window.rows)),
        sampled=window.sampled,
        since=rows[0].observation.time,
        until=rows[-1].observation.time,
    )


def _corrected_faces(row: StoredObservation) -> Iterator[CorrectedFace]:
    for index, face in enumerate(row.observation.other_faces, 1):
        if (true := row.true_emotions.get(index)) is not None:
            yield CorrectedFace(true=true, predicted=face.predicted)


def _probabilities(store: Store, rows: Sequence[StoredObservation]) -> Probabilities | None:
    """The probabilities of one model's observations; None if its record is gone or a row is truncated."""
    model = store.observation(rows[-1].observation.id).model
    seen = [row.probabilities() for row in rows]
    if model is None or {len(one) for one in seen} != {len(model.classes)}:
        return None
    return Probabilities(classes=model.classes, values=np.stack(seen).astype(np.float64))


def table_of(rows: Sequence[StoredObservation]) -> Table:
    """Convert observations, at least one, to columns."""
    seen = [row.observation for row in rows]
    numbers = {name: np.array([getattr(one, name) for one in seen], np.float64) for name in NUMBERS}
    numbers[FACE_SIZE] = np.array([_face_size(one) for one in seen], np.float64)
    if (novelty := [one.novelty for one in seen if one.novelty is not None]) and len(novelty) == len(seen):
        numbers[NOVELTY] = np.array(novelty, np.float64)
    # Rows of one model have embeddings of one length; a truncated row must not stop the others.
    length = max(len(one.embedding) for one in seen)
    features = b"".join(one.embedding.ljust(length, b"\0") for one in seen)
    return Table(
        numbers=numbers,
        predicted=np.array([one.predicted for one in seen], dtype=np.str_),
        embedding=np.frombuffer(features, "<f2").reshape(len(seen), -1).astype(np.float64),
    )


def _face_size(seen: Observation) -> int:
    """Return the shorter side of the part that was cut out for the network, without its margin; px."""
    _, _, width, height = seen.box or (0, 0, seen.width, seen.height)
    return min(width, height)


COLUMNS = (
    "emotion", "probability", "entropy", "brightness", "contrast", "sharpness", "box", "embedding",
)  # fmt: skip
"""Columns of the scores that are compared, beside `novelty` where the model has it."""
_OF_CLASS = "p_"
"""Begins the column of each class's probability."""
# Column of a window → column of the scores.
_NUMBERS = {
    "brightness": "brightness",
    "contrast": "contrast",
    "sharpness": "sharpness",
    "confidence": "probability",
    "entropy": "entropy",
}


def read_scores(path: Path, rule: WindowRule, *, version: str) -> CurrentWindow:
    """Read the rows that have an answer, or a uniform sample of them.

    A batch has no times; the modification time of the file is used instead.

    Raises:
        BatchTooSmall: there are fewer answers than the rule requires, or none.
    """
    import pyarrow.parquet as pq

    known = pq.read_schema(path).names
    of_classes = [name for name in known if name.startswith(_OF_CLASS)]
    table = pq.read_table(path, columns=[*COLUMNS, *of_classes, *([NOVELTY] if NOVELTY in known else [])])
    table = table.filter(table["emotion"].is_valid())
    total = len(table)
    if total < max(rule.min_rows, 1):
        raise BatchTooSmall(got=total, expected=rule.min_rows, version=version)
    if total > rule.max_rows:
        drawn = np.random.default_rng(_SEED).choice(total, rule.max_rows, replace=False)
        table = table.take(np.sort(drawn))
    written = path.stat().st_mtime
    return CurrentWindow(
        table=_table(table),
        probabilities=_batch_probabilities(table, of_classes),
        feedback=(None,) * len(table),
        total=total,
        sampled=total > len(table),
        since=written,
        until=written,
    )


def _batch_probabilities(rows: pa.Table, columns: Sequence[str]) -> Probabilities | None:
    if not columns:
        return None
    return Probabilities(
        classes=tuple(name.removeprefix(_OF_CLASS) for name in columns),
        values=np.stack([rows[name].to_numpy().astype(np.float64) for name in columns], axis=1),
    )


def _table(rows: pa.Table) -> Table:
    numbers = {name: rows[column].to_numpy().astype(np.float64) for name, column in _NUMBERS.items()}
    numbers[FACE_SIZE] = _face_sizes(rows)
    if NOVELTY in rows.column_names:
        numbers[NOVELTY] = rows[NOVELTY].to_numpy().astype(np.float64)
    # Rounded to half precision, as in the reference and the observations.
    half = np.finfo(np.float16)
    features = np.stack(rows["embedding"].to_numpy(zero_copy_only=False))
    embedding = np.clip(features, half.min, half.max).astype(np.float16)
    return Table(
        numbers=numbers,
        predicted=np.asarray(rows["emotion"].to_pylist(), dtype=np.str_),
        embedding=embedding.astype(np.float64),
    )


def _face_sizes(rows: pa.Table) -> NDArray[np.float64]:
    """Return the shorter side of each face, px; NaN for whole pictures, whose size is not stored."""
    boxes = rows["box"].to_pylist()
    return np.array([np.nan if box is None else min(box["width"], box["height"]) for box in boxes])
