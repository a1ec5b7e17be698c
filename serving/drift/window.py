"""The current window: the live model's newest observations, never more than can be compared cheaply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.drift.request import WindowRule
from serving.drift.table import FACE_SIZE, NUMBERS, Table
from serving.errors import WindowTooSmall
from serving.observing.observation import Observation, Recorded
from serving.observing.store import Store


@dataclass(frozen=True, kw_only=True)
class Current:
    """A window as it is compared."""

    table: Table
    feedback: tuple[str | None, ...]
    """The true emotion as told, None where nobody told; of each row."""
    total: int
    """Observations in the window; an estimate when `sampled`."""
    sampled: bool
    since: float
    """Of the oldest row, seconds since 1970 (UTC)."""
    until: float


def read_current(store: Store, rule: WindowRule, *, version: str, sha256: str) -> Current:
    """Read the window of one model.

    Raises:
        WindowTooSmall: it has fewer rows than the rule wants, or none.
        StoreUnavailable: the database is away.
    """
    window = store.window(version, last_n=rule.last_n, last_s=rule.last_s, max_rows=rule.max_rows)
    # Every model that is served from a path has one version, `local`; the digest tells them apart.
    rows = [row for row in window.rows if row.observation.model_sha256 == sha256]
    if len(rows) < max(rule.min_rows, 1):
        raise WindowTooSmall(got=len(rows), expected=rule.min_rows, version=version)
    return Current(
        table=table_of(rows),
        feedback=tuple(row.feedback for row in rows),
        total=round(window.total * len(rows) / len(window.rows)),
        sampled=window.sampled,
        since=rows[0].observation.time,
        until=rows[-1].observation.time,
    )


def table_of(rows: Sequence[Recorded]) -> Table:
    """Observations as columns; at least one."""
    seen = [row.observation for row in rows]
    numbers = {name: np.array([getattr(one, name) for one in seen], np.float64) for name in NUMBERS}
    numbers[FACE_SIZE] = np.array([_face_size(one) for one in seen], np.float64)
    # Rows of one file have one length; a row that was cut short by whatever must not stop the others.
    length = max(len(one.embedding) for one in seen)
    features = b"".join(one.embedding.ljust(length, b"\0") for one in seen)
    return Table(
        numbers=numbers,
        predicted=np.array([one.predicted for one in seen], dtype=np.str_),
        embedding=np.frombuffer(features, "<f2").reshape(len(seen), -1).astype(np.float64),
    )


def _face_size(seen: Observation) -> int:
    """Shorter side of what was cut out for the network, without its margin; px."""
    _, _, width, height = seen.box or (0, 0, seen.width, seen.height)
    return min(width, height)
