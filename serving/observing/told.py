"""Kept pictures whose true emotion was told: what can become data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from sqlalchemy import select

from serving.contract import Box
from serving.observing.database import Database
from serving.observing.tables import feedback, latest_feedback, observations


@dataclass(frozen=True, kw_only=True)
class Told:
    """One of them."""

    id: str
    """Of the answer."""
    picture: str
    """Name inside the folder of kept pictures."""
    box: Box | None
    """The face that was looked at, left, top, width, height in px; None: the whole picture."""
    emotion: str
    """The true one, as last told."""


def told_pictures(url: str) -> list[Told]:
    """All of them, the oldest first.

    Args:
        url: of the observations.

    Raises:
        StoreUnavailable: the database is away.
    """
    box = [observations.c[f"face_{side}"] for side in ("left", "top", "width", "height")]
    query = (
        select(observations.c.id, observations.c.picture, *box, latest_feedback)
        .where(
            observations.c.picture.is_not(None),
            observations.c.id.in_(select(feedback.c.observation_id)),
        )
        .order_by(observations.c.time, observations.c.id)
    )
    database = Database(url)
    try:
        with database.opened() as connection:
            return [
                Told(
                    id=row[0],
                    picture=row[1],
                    box=None if row[2] is None else cast(Box, tuple(row[2:6])),
                    emotion=row[6],
                )
                for row in connection.execute(query)
            ]
    finally:
        database.close()
