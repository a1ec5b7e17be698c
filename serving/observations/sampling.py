"""A window of observations, thinned evenly at the database: its cost is the sample's, not the window's.

Each row has a level, k with probability 2^-(k+1), drawn from its id. Rows of level ≥ k are a uniform sample
of 2^-k of all rows, and the index (model, level, time) holds each level's part of a window in one piece.
Levels are counted from the highest down until they hold enough; nothing below them is looked at.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, select

from serving.observations.records import StoredObservation
from serving.observations.schema import MAX_LEVEL, latest_feedback, observations, read_observation

AHEAD_S = 60.0
"""How far clocks may differ; what is dated further ahead was dated by a clock that was wrong."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Observations of one model version."""

    model_version: str
    since: float
    """Of the oldest observation that belongs to the window, seconds since 1970 (UTC)."""
    total: int
    """Observations in the window; an estimate when `sampled`."""
    sampled: bool
    """Whether `rows` is a part of the window, each row being as likely as the other."""
    rows: tuple[StoredObservation, ...]
    """The oldest first."""


def read_window(
    connection: Connection, version: str, *, since: float, until: float, last_n: int | None, max_rows: int
) -> Window:
    """Read a window, or a uniform sample of it.

    Args:
        connection: to the database.
        version: of the model.
        since: seconds since 1970 (UTC).
        until: the same; later observations do not count.
        last_n: maximum number of rows, the newest ones; None: unlimited.
        max_rows: most rows that come back.
    """
    if last_n is not None:
        since = max(since, _time_of_nth(connection, version, last_n, until=until))
    level = _level_that_holds_more(connection, version, since=since, until=until, than=max_rows)
    levels = range(level, MAX_LEVEL + 1)
    rows = _rows(connection, version, since=since, until=until, levels=levels)
    emotions = latest_feedback(connection, _in_window(version, since=since, until=until, levels=levels))
    sampled = level > 0 or len(rows) > max_rows
    total = len(rows) << level
    if last_n is not None:
        # Several rows of one instant may make it more than were asked for.
        total = min(total, last_n)
        rows = rows if sampled else rows[-last_n:]
    return Window(
        model_version=version,
        since=since,
        total=total,
        sampled=sampled,
        rows=tuple(read_observation(row, emotions.get(row["id"], {})) for row in _thinned(rows, max_rows)),
    )


def _time_of_nth(connection: Connection, version: str, number: int, *, until: float) -> float:
    """When the `number`th newest observation was made; minus infinity when there are fewer."""
    query = (
        select(observations.c.time)
        .where(observations.c.model_version == version, observations.c.time <= until)
        .order_by(observations.c.time.desc())
        .offset(number - 1)
        .limit(1)
    )
    found = connection.scalar(query)
    return -math.inf if found is None else found


def _level_that_holds_more(
    connection: Connection, version: str, *, since: float, until: float, than: int
) -> int:
    """The highest level k whose rows ≥ k are more than `than`; 0 when even all rows are not."""
    count = 0
    for level in range(MAX_LEVEL, 0, -1):
        query = select(func.count()).where(_in_window(version, since=since, until=until, levels=[level]))
        count += connection.scalar(query) or 0
        if count > than:
            return level
    return 0


def _rows(
    connection: Connection, version: str, *, since: float, until: float, levels: Sequence[int]
) -> Sequence[RowMapping]:
    query = select(observations).where(_in_window(version, since=since, until=until, levels=levels))
    # Sorted here: asked for the order, SQLite walks through the whole window by time.
    return sorted(connection.execute(query).mappings(), key=itemgetter("time", "id"))


def _in_window(version: str, *, since: float, until: float, levels: Sequence[int]) -> ColumnElement[bool]:
    # A list of levels is a handful of ranges of the index; `level >= k` would be one long scan.
    return and_(
        observations.c.model_version == version,
        observations.c.level.in_(levels),
        observations.c.time >= since,
        observations.c.time <= until,
    )


def _thinned(rows: Sequence[RowMapping], max_rows: int) -> Sequence[RowMapping]:
    """At most `max_rows`, in their order, chosen by a hash of the id that is independent of the level."""
    if len(rows) <= max_rows:
        return rows
    chosen = set(heapq.nsmallest(max_rows, (row["id"] for row in rows), key=_draw))
    return [row for row in rows if row["id"] in chosen]


def _draw(id: str) -> bytes:
    return hashlib.blake2b(id.encode(), digest_size=8, person=b"sample").digest()
