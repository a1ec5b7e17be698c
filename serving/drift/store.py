"""Drift results in the observation database: all replicas see the same, and one of them computes the next.

The lease is a row that is taken in one statement. It expires, so a process that was killed blocks nothing;
the replicas' clocks need to agree to seconds only, since a lease lasts for minutes. Rows that are dated
further ahead come from a wrong clock: they do not count, and `ahead` reports them.
"""

from __future__ import annotations

import time
import uuid
import zlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, delete, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from serving.drift.result import DriftResult
from serving.errors.operation import TimesAhead
from serving.observations.database import Database
from serving.observations.sampling import AHEAD_S
from serving.observations.schema import drift_lease, drift_results, observations

# Maximum number of rows that are counted: the message is about the clock, the exact number does not matter.
_MAX_AHEAD = 1000


@dataclass(frozen=True, kw_only=True)
class ModelKey:
    """Version and digest that identify a model's results."""

    version: str
    sha256: str


class DriftStore:
    """Reads and writes drift results; methods are thread-safe and block while the database works."""

    def __init__(self, url: str) -> None:
        """Create the store; the database is opened at the first call.

        Args:
            url: URL of the observation database.

        Raises:
            StoreUrlInvalid: another kind of database, or not a URL.
        """
        self._database = Database(url)
        self._insert = sqlite.insert if self._database.dialect == "sqlite" else postgresql.insert
        self._holder = uuid.uuid4().hex

    def newest(self, model: ModelKey, *, verdict: bool = False) -> DriftResult | None:
        """Return the newest result of a model, or None; with `verdict` the newest that has one.

        Raises:
            StoreUnavailable: the database is unreachable.
        """
        query = _of(model, drift_results.c.result).limit(1)
        if verdict:
            query = query.where(drift_results.c.verdict != "unknown")
        with self._database.opened() as connection:
            text = connection.scalar(query)
        return None if text is None else DriftResult.loads(text)

    def recent(self, model: ModelKey, limit: int) -> list[DriftResult]:
        """Return at most `limit` results of a model, newest first.

        Raises:
            StoreUnavailable: the database is unreachable.
        """
        with self._database.opened() as connection:
            texts = connection.scalars(_of(model, drift_results.c.result).limit(limit)).all()
        return [DriftResult.loads(text) for text in texts]

    def report(self, model: ModelKey) -> bytes | None:
        """Return the report page of the model's newest verdict, HTML in UTF-8; None without one.

        Raises:
            StoreUnavailable: the database is unreachable.
        """
        query = _of(model, drift_results.c.report).where(drift_results.c.report.is_not(None)).limit(1)
        with self._database.opened() as connection:
            packed = connection.scalar(query)
        return None if packed is None else zlib.decompress(packed)

    def keep(self, result: DriftResult, *, html: bytes | None = None, retention_s: float) -> None:
        """Store a result; delete the pages of older ones and results beyond their retention.

        Raises:
            StoreUnavailable: nothing was stored.
        """
        row = {
            "time": result.time,
            "model_version": result.model_version,
            "model_sha256": result.model_sha256,
            "verdict": result.verdict,
            "result": result.dumps(),
            "report": None if html is None else zlib.compress(html),
        }
        model = ModelKey(version=result.model_version, sha256=result.model_sha256)
        with self._database.opened() as connection:
            if html is not None:
                connection.execute(update(drift_results).where(*_is(model)).values(report=None))
            connection.execute(drift_results.insert(), row)
            connection.execute(delete(drift_results).where(drift_results.c.time < result.time - retention_s))

    def newest_observation(self, model: ModelKey) -> float | None:
        """Return the time of a model's newest observation; None without one.

        Raises:
            StoreUnavailable: the database is unreachable.
        """
        query = select(func.max(observations.c.time)).where(
            observations.c.model_version == model.version, observations.c.time <= time.time() + AHEAD_S
        )
        with self._database.opened() as connection:
            newest: float | None = connection.scalar(query)
        return newest

    def count(self, model: ModelKey, *, up_to: int, since: float | None = None) -> int:
        """Count the observations of a version, at most up to `up_to`.

        Raises:
            StoreUnavailable: the database is unreachable.
        """
        rows = select(literal(1)).where(
            observations.c.model_version == model.version, observations.c.time <= time.time() + AHEAD_S
        )
        if since is not None:
            rows = rows.where(observations.c.time >= since)
        with self._database.opened() as connection:
            return connection.scalar(select(func.count()).select_from(rows.limit(up_to).subquery())) or 0

    def ahead(self, model: ModelKey) -> TimesAhead | None:
        """Return the problem of observations and results that are dated in the future, or None.

        Raises:
            StoreUnavailable: the database is unreachable.
        """
        now = time.time()
        counts, latest = [], now
        for table in (observations, drift_results):
            late = (table.c.model_version == model.version, table.c.time > now + AHEAD_S)
            some = select(table.c.time).where(*late).order_by(table.c.time.desc()).limit(_MAX_AHEAD)
            with self._database.opened() as connection:
                times = connection.scalars(some).all()
            counts.append(len(times))
            latest = max([latest, *times])
        if not any(counts):
            return None
        return TimesAhead(observations=counts[0], results=counts[1], ahead_s=latest - now)

    def acquire(self, *, now: float, lasts_s: float) -> bool:
        """Take the lease if it is free; True if this process holds it now.

        A lease that ends later than one taken now was dated by a clock that was ahead; it counts as free.

        Raises:
            StoreUnavailable: the database is unreachable.
        """
        values = {"only": True, "holder": self._holder, "until": now + lasts_s}
        taken = (
            self._insert(drift_lease)
            .values(values)
            .on_conflict_do_update(
                index_elements=["only"],
                set_={"holder": self._holder, "until": now + lasts_s},
                where=(drift_lease.c.until < now) | (drift_lease.c.until > now + lasts_s + AHEAD_S),
            )
            .returning(drift_lease.c.holder)
        )
        with self._database.opened() as connection:
            return connection.execute(taken).first() is not None

    def leased_since(self, *, now: float, lasts_s: float) -> float | None:
        """Return when the lease was taken that some process holds, seconds since 1970; None if it is free.

        Raises:
            StoreUnavailable: the database is unreachable.
        """
        with self._database.opened() as connection:
            until: float | None = connection.scalar(select(drift_lease.c.until))
        if until is None or not now <= until <= now + lasts_s + AHEAD_S:
            return None
        return until - lasts_s

    def release(self) -> None:
        """Release the lease, if this process holds it.

        Raises:
            StoreUnavailable: the database is unavailable; the lease expires.
        """
        with self._database.opened() as connection:
            connection.execute(delete(drift_lease).where(drift_lease.c.holder == self._holder))

    def close(self) -> None:
        """Close the connections."""
        self._database.close()


def _is(model: ModelKey) -> tuple[ColumnElement[bool], ...]:
    return (
        drift_results.c.model_version == model.version,
        drift_results.c.model_sha256 == model.sha256,
    )


def _of(model: ModelKey, column: Column[Any]) -> Select[Any]:
    """Select a column of a model's results, newest first."""
    is_valid = drift_results.c.time <= time.time() + AHEAD_S
    return select(column).where(*_is(model), is_valid).order_by(drift_results.c.number.desc())
