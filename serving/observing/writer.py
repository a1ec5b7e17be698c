"""From the buffer to the database, batch after batch; what cannot be written is said and counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from serving.errors import ImageError, RowsRefused, StoreError
from serving.observing.buffer import Buffer, Note, Waiting
from serving.observing.observation import Feedback, ModelRecord, Observation, Switch
from serving.observing.pictures import PictureFolder
from serving.observing.store import Batch, Store

_log = logging.getLogger(__name__)
# Often enough to be seen, seldom enough not to fill a disk that is full already.
_COMPLAINT_S = 60.0


class Writer:
    """Used by one thread."""

    def __init__(
        self,
        buffer: Buffer,
        store: Store,
        *,
        models: Mapping[tuple[str, str], ModelRecord],
        pictures: PictureFolder | None,
        batch_rows: int,
    ) -> None:
        """Join the parts.

        Args:
            buffer: where rows come from.
            store: where rows go.
            models: those that answer, by version and sha256.
            pictures: where pictures go; None keeps none.
            batch_rows: most rows of each kind in a transaction.
        """
        self._buffer = buffer
        self._models = models
        self._store = store
        self._pictures = pictures
        self._batch_rows = batch_rows
        self._complained_at: float | None = None
        self._reported = 0
        self.written = 0
        """Observations that are in the database."""
        self.refused = 0
        """Rows of any kind that the database would not take."""
        self.kept_pictures = 0
        """Pictures that are in their folder."""
        self.failure: str | None = None
        """Why rows wait; None while all is well."""

    def write_next(self) -> bool:
        """Write one batch; False when there was nothing to write or the database did not take it."""
        waiting, notes = self._buffer.take(self._batch_rows)
        if not waiting and not notes:
            return False
        rows = [self._with_picture(item) for item in waiting]
        try:
            self._write(rows, notes)
        except StoreError as error:
            self._failed(str(error))
            return False
        self._buffer.done()
        self._succeeded()
        return True

    @property
    def lost(self) -> int:
        """Rows of any kind that will never be in the database."""
        return self._buffer.lost + self.refused

    def give_up(self) -> None:
        """Drop what is left and say so."""
        left = self._buffer.give_up()
        if left:
            _log.error(
                "%d observations, feedback and switches are lost: %s", left, self.failure or "no time left"
            )

    def complain(self, message: str) -> None:
        """Log a failure, at most once a minute, with how many rows were lost since the last time."""
        now = time.monotonic()
        if self._complained_at is None or now - self._complained_at >= _COMPLAINT_S:
            _log.warning("%s; %d rows wait, %d more are lost", message, len(self._buffer), self._newly_lost())
            self._complained_at = now

    def _write(self, rows: list[Observation], notes: list[Note]) -> None:
        try:
            self._store.write(self._batch(rows, notes))
            self.written += len(rows)
        except RowsRefused:
            # One bad row must not hold up the others: each for itself, and the bad one is left out.
            for row in rows:
                self.written += self._write_one(self._batch([row], []))
            for note in notes:
                self._write_one(self._batch([], [note]))

    def _write_one(self, batch: Batch) -> bool:
        try:
            self._store.write(batch)
            return True
        except RowsRefused as error:
            self.refused += 1
            self.complain(str(error))
            return False

    def _batch(self, rows: list[Observation], notes: Iterable[Note]) -> Batch:
        notes = list(notes)
        # With every batch, though they are mostly there: the database may be a new one since the last.
        keys = {(row.model_version, row.model_sha256) for row in rows}
        return Batch(
            observations=rows,
            feedback=[note for note in notes if isinstance(note, Feedback)],
            switches=[note for note in notes if isinstance(note, Switch)],
            models=[self._models[key] for key in keys if key in self._models],
        )

    def _with_picture(self, waiting: Waiting) -> Observation:
        row = waiting.observation
        if waiting.picture is None or self._pictures is None:
            return row
        try:
            name = self._pictures.write(waiting.picture, id=row.id, time=row.time)
            row = replace(row, picture=name)
            self.kept_pictures += 1
        except (OSError, ImageError) as error:
            self._buffer.dropped_pictures += 1
            self.complain(f"a picture cannot be kept: {error}")
        # Should the database be away, the next attempt finds the picture written.
        self._buffer.keep(row)
        return row

    def _failed(self, reason: str) -> None:
        self.failure = reason
        self.complain(reason)

    def _succeeded(self) -> None:
        if self.failure is not None:
            _log.warning(
                "observations are written again; %d rows wait, %d more are lost",
                len(self._buffer),
                self._newly_lost(),
            )
            self.failure = None
            self._complained_at = None
        elif self.lost > self._reported:
            self.complain("observations come faster than they are written")

    def _newly_lost(self) -> int:
        """How many were lost since this was last asked."""
        before, self._reported = self._reported, self.lost
        return self._reported - before
