"""Reads and writes the observation database, SQLite or PostgreSQL.

    store = Store("sqlite:///observations.db")
    store.write(Batch(observations=[…]))
    window = store.window("3", last_n=500)

Methods are thread-safe, block while the database works, and raise `StoreUnavailable` when it is unavailable.
Requests use the `Recorder` instead.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Integer,
    String,
    Table,
    and_,
    delete,
    false,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from serving.errors.operation import RowsRefused
from serving.errors.requests import ObservationUnknown
from serving.observations.database import Database
from serving.observations.images import PictureFolder
from serving.observations.records import (
    Disagreement,
    Feedback,
    ModelRecord,
    Observation,
    StoredObservation,
    Switch,
)
from serving.observations.sampling import AHEAD_S, Window, read_window
from serving.observations.schema import (
    feedback,
    labels,
    latest_feedback,
    model_row,
    models,
    observation_row,
    observations,
    read_model,
    read_observation,
    read_switch,
    switch_row,
    switches,
)

# Long enough to be worth a transaction, short enough that other writers wait milliseconds.
_PURGE_ROWS = 1000
MAX_FEEDBACK = 16
"""Maximum number of feedback rows for one face of an answer; older ones are deleted."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The rows that one transaction writes."""

    observations: Sequence[Observation] = ()
    feedback: Sequence[Feedback] = ()
    switches: Sequence[Switch] = ()
    models: Sequence[ModelRecord] = ()
    disagreements: Sequence[Disagreement] = ()
    """Of observations that are stored, or in the same batch; others are ignored."""


class Store:
    """The observation database."""

    def __init__(self, url: str, *, pictures: PictureFolder | None = None) -> None:
        """Remember where the database is; nothing is opened yet.

        Args:
            url: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`.
            pictures: kept pictures, which are deleted with their rows.

        Raises:
            StoreUrlInvalid: another kind of database, or no URL at all.
        """
        self._database = Database(url)
        self._pictures = pictures
        # Both dialects spell it alike, yet SQLAlchemy has one class for each.
        self._insert = sqlite.insert if self._database.dialect == "sqlite" else postgresql.insert

    @property
    def url(self) -> str:
        """Where the rows are, without a password."""
        return self._database.shown

    def prepare(self) -> None:
        """Connect and create the tables where they are missing; every other call does it too.

        Raises:
            StoreUnavailable: the database is unreachable.
            StoreTooNew: a newer service has changed the tables.
        """
        with self._database.opened():
            pass

    def write(self, batch: Batch) -> None:
        """Write all of it in one transaction. What is already there stays: writing again does no harm.

        Raises:
            StoreUnavailable: nothing was written.
            RowsRefused: the database is fine and does not take a value; nothing was written.
        """
        with self._database.opened() as connection:
            self._add(connection, models, [model_row(model) for model in batch.models])
            self._add(connection, observations, [observation_row(row) for row in batch.observations])
            self._add(connection, feedback, [vars(row) for row in batch.feedback])
            for id, face in {(row.observation_id, row.face) for row in batch.feedback}:
                _forget_old_feedback(connection, id, face)
            self._add(connection, switches, [switch_row(row) for row in batch.switches])
            for row in batch.disagreements:
                which = observations.c.id == row.observation_id
                connection.execute(update(observations).where(which).values(disagreement=row.distance))

    def feedback(self, row: Feedback) -> None:
        """Store the true emotion of a face of a stored answer.

        The last one of a face counts, and its last `MAX_FEEDBACK` are kept.

        Raises:
            ObservationUnknown: no such answer was stored.
            StoreUnavailable: the database is unreachable.
        """
        _check_id(row.observation_id)
        known = select(
            observations.c.id,
            literal(row.face, Integer),
            literal(row.time, Double),
            literal(row.emotion, String),
        ).where(observations.c.id == row.observation_id)
        columns = ["observation_id", "face", "time", "emotion"]
        with self._database.opened() as connection:
            insert = feedback.insert().from_select(columns, known).returning(feedback.c.number)
            added = connection.execute(insert).all()
            _forget_old_feedback(connection, row.observation_id, row.face)
        if not added:
            raise ObservationUnknown(id=row.observation_id)

    def observation(self, id: str) -> StoredObservation:
        """One answer with its feedback and the model that gave it.

        Raises:
            ObservationUnknown: no such answer is stored.
            StoreUnavailable: the database is unreachable.
        """
        _check_id(id)
        which = observations.c.id == id
        with self._database.opened() as connection:
            row = connection.execute(select(observations).where(which)).mappings().one_or_none()
            if row is None:
                raise ObservationUnknown(id=id)
            found = read_observation(row, latest_feedback(connection, which).get(id, {}))
            return replace(found, model=_model(connection, found.observation))

    def window(
        self,
        version: str,
        *,
        last_n: int | None = None,
        last_s: float | None = None,
        max_rows: int = 10_000,
        now: float | None = None,
    ) -> Window:
        """The newest observations of a model version, or a uniform sample of them.

        Args:
            version: of the model.
            last_n: maximum number of observations, newest first.
            last_s: maximum age, seconds; with `last_n` both limits apply.
            max_rows: maximum number of returned rows; a larger window is sampled uniformly.
            now: end of the window, seconds since 1970 (UTC); observations that are dated later do not count.

        Raises:
            StoreUnavailable: the database is unreachable.
        """
        now = time.time() if now is None else now
        since, until = -math.inf if last_s is None else now - last_s, now + AHEAD_S
        with self._database.opened() as connection:
            return read_window(
                connection, version, since=since, until=until, last_n=last_n, max_rows=max_rows
            )

    def switches(self, limit: int = 100) -> list[Switch]:
        """The newest switches of all processes, the newest first."""
        query = select(switches).order_by(switches.c.time.desc(), switches.c.number.desc()).limit(limit)
        with self._database.opened() as connection:
            return [read_switch(row) for row in connection.execute(query).mappings()]

    def delete(self, id: str) -> None:
        """Delete an answer, its feedback, its labels and its picture.

        Raises:
            ObservationUnknown: no such answer is stored.
            StoreUnavailable: the database is unreachable.
        """
        _check_id(id)
        if not self._delete(observations.c.id == id, {feedback: feedback.c.observation_id == id}):
            raise ObservationUnknown(id=id)

    def purge(self, before: float) -> int:
        """Delete what was observed before this time (seconds since 1970, UTC), in batches; how many rows."""
        total = 0
        while deleted := self.purge_batch(before):
            total += deleted
        return total

    def purge_batch(self, before: float) -> int:
        """Delete the oldest thousand rows from before this time; how many there were."""
        oldest = (
            select(observations.c.id)
            .where(observations.c.time < before)
            .order_by(observations.c.time)
            .limit(_PURGE_ROWS)
        )
        # Feedback and labels of this age have no answer: it is as old, or older.
        orphans = {table: table.c.time < before for table in (feedback, labels)}
        return self._delete(observations.c.id.in_(oldest), orphans)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def _add(self, connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        try:
            connection.execute(self._insert(table).on_conflict_do_nothing(), rows)
        except (TypeError, ValueError, OverflowError) as error:
            # The driver's own words for a value that no column takes.
            raise RowsRefused(reason=str(error)) from error

    def _delete(self, which: ColumnElement[bool], others: Mapping[Table, ColumnElement[bool]]) -> int:
        """Delete answers and what belongs to them; `others` are further rows of the tables beside."""
        with self._database.opened() as connection:
            found = delete(observations).where(which).returning(observations.c.id, observations.c.picture)
            gone = connection.execute(found).all()
            ids = [row.id for row in gone]
            for table in (feedback, labels):
                also = others.get(table, false())
                connection.execute(delete(table).where(table.c.observation_id.in_(ids) | also))
            # Before the commit: a picture that cannot be deleted keeps its row.
            if self._pictures is not None:
                for row in gone:
                    self._pictures.delete(row.picture)
        return len(gone)


def _check_id(id: str) -> None:
    """Clients send ids back: PostgreSQL would not even compare some strings (those with a NUL)."""
    if not (id.isascii() and id.replace("-", "").isalnum()):
        raise ObservationUnknown(id=id)


def _forget_old_feedback(connection: Connection, id: str, face: int) -> None:
    which = and_(feedback.c.observation_id == id, feedback.c.face == face)
    newest = select(feedback.c.number).where(which).order_by(feedback.c.number.desc()).limit(MAX_FEEDBACK)
    connection.execute(delete(feedback).where(which, feedback.c.number.not_in(newest)))


def _model(connection: Connection, observation: Observation) -> ModelRecord | None:
    query = select(models).where(
        models.c.version == observation.model_version, models.c.sha256 == observation.model_sha256
    )
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else read_model(row)
