"""Bounded buffer of rows that are not in the database yet, and the writer that empties it.

Rows in the buffer can be found by their id. Rows that cannot be written are logged and counted.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from serving.errors import ImageError
from serving.errors.operation import RowsRefused, StoreError
from serving.observations.images import PictureFolder
from serving.observations.records import (
    Disagreement,
    Feedback,
    ModelRecord,
    Observation,
    StoredObservation,
    Switch,
)
from serving.observations.store import Batch, Store


@dataclass(frozen=True, slots=True)
class WaitingObservation:
    """An observation that is not in the database yet, with its picture when that is to be kept."""

    observation: Observation
    picture: bytes | None


Note = Feedback | Switch | Disagreement
"""Rows of the rare kinds; they keep their order."""


class Buffer:
    """Takes rows from any thread, gives them to one. When it is full the oldest row makes room.

    The newest ones say most about the world as it is, and an old one makes room only once the database was
    away for long.
    """

    def __init__(self, *, capacity: int, picture_bytes: int) -> None:
        """Create an empty buffer.

        Args:
            capacity: maximum number of waiting observations, and of waiting rows of other kinds.
            picture_bytes: maximum size of all waiting pictures.
        """
        self._capacity = capacity
        self._picture_bytes = picture_bytes
        self._lock = threading.Lock()
        # Not a dict: taking the first item of a dict again and again is quadratic.
        self._rows: OrderedDict[str, WaitingObservation] = OrderedDict()
        # Feedback by its face, so that the last one replaces those before it; other notes by number.
        self._notes: OrderedDict[tuple[str, int] | int, Note] = OrderedDict()
        self._numbers = itertools.count()
        # In the writer's hands: still found by their id, no longer dropped.
        self._taken: dict[str, WaitingObservation] = {}
        self._taken_notes: list[Note] = []
        self._bytes = 0
        self.dropped = 0
        """Observations that had to make room, or were given up."""
        self.dropped_notes = 0
        """Feedback and switches that had to make room, or were given up."""
        self.dropped_pictures = 0
        """Pictures that were to be kept, for which there was no room."""

    def __len__(self) -> int:
        """Rows of every kind that are not written yet."""
        return len(self._rows) + len(self._notes) + len(self._taken) + len(self._taken_notes)

    def add(self, observation: Observation, picture: bytes | None) -> int:
        """Take one row; how many observations wait now."""
        with self._lock:
            if picture is not None:
                if self._bytes + len(picture) > self._picture_bytes:
                    picture = None
                    self.dropped_pictures += 1
                else:
                    self._bytes += len(picture)
            self._rows[observation.id] = WaitingObservation(observation, picture)
            if len(self._rows) + len(self._taken) > self._capacity:
                self._forget(self._rows.popitem(last=False)[1])
                self.dropped += 1
            return len(self._rows)

    def note(self, note: Note) -> None:
        """Take one row of the rarer kinds."""
        with self._lock:
            self._append(note)

    def note_if_room(self, note: Note) -> None:
        """Take a row that may be lost: it leaves half of the room to those that may not."""
        with self._lock:
            if len(self._notes) < self._capacity // 2:
                self._append(note)

    def note_if_waiting(self, feedback: Feedback) -> bool:
        """Take feedback when its observation is here: it is then written with it or after it."""
        with self._lock:
            if feedback.observation_id not in self._rows and feedback.observation_id not in self._taken:
                return False
            self._append(feedback)
            return True

    def find(self, id: str) -> StoredObservation | None:
        """An observation that is not written yet, with its feedback."""
        with self._lock:
            waiting = self._rows.get(id) or self._taken.get(id)
            if waiting is None:
                return None
            notes = [*self._taken_notes]
            # By its key: the notes may be many.
            faces = range(1 + len(waiting.observation.other_faces))
            notes += [self._notes[id, face] for face in faces if (id, face) in self._notes]
        emotions = {
            note.face: note.emotion
            for note in notes
            if isinstance(note, Feedback) and note.observation_id == id
        }
        return StoredObservation(observation=waiting.observation, true_emotions=emotions)

    def remove(self, id: str) -> bool:
        """Take out an observation and its feedback, unless the writer has them; whether it was here."""
        with self._lock:
            for key in [key for key, note in self._notes.items() if _is_about(note, id)]:
                del self._notes[key]
            waiting = self._rows.pop(id, None)
            if waiting is None:
                return False
            self._forget(waiting)
            return True

    def is_taken(self, id: str) -> bool:
        """Whether the writer has an observation, or feedback on it."""
        with self._lock:
            return id in self._taken or any(_is_about(note, id) for note in self._taken_notes)

    def take(self, rows: int) -> tuple[list[WaitingObservation], list[Note]]:
        """The oldest rows, for the writer; the same ones again until `done` is called.

        Args:
            rows: most of each kind.
        """
        with self._lock:
            if not self._taken and not self._taken_notes:
                for _ in range(min(rows, len(self._rows))):
                    id, waiting = self._rows.popitem(last=False)
                    self._taken[id] = waiting
                count = min(rows, len(self._notes))
                self._taken_notes = [self._notes.popitem(last=False)[1] for _ in range(count)]
            return list(self._taken.values()), list(self._taken_notes)

    def keep(self, observation: Observation) -> None:
        """Let a taken row stand as this one, and its picture go: it is kept."""
        with self._lock:
            self._forget(self._taken[observation.id])
            self._taken[observation.id] = WaitingObservation(observation, None)

    @property
    def lost(self) -> int:
        """Rows of every kind that are lost."""
        return self.dropped + self.dropped_notes

    def done(self, *, lost: bool = False) -> None:
        """The taken rows are written, or `lost`."""
        with self._lock:
            if lost:
                self.dropped += len(self._taken)
                self.dropped_notes += len(self._taken_notes)
            for waiting in self._taken.values():
                self._forget(waiting)
            self._taken.clear()
            self._taken_notes.clear()

    def give_up(self) -> int:
        """Drop all that is left; how many rows of any kind."""
        with self._lock:
            left = len(self)
            self.dropped += len(self._rows) + len(self._taken)
            self.dropped_notes += len(self._notes) + len(self._taken_notes)
            self._rows.clear()
            self._notes.clear()
            self._taken.clear()
            self._taken_notes.clear()
            self._bytes = 0
            return left

    def _append(self, note: Note) -> None:
        key = (note.observation_id, note.face) if isinstance(note, Feedback) else next(self._numbers)
        self._notes.pop(key, None)
        self._notes[key] = note
        if len(self._notes) > self._capacity:
            self._notes.popitem(last=False)
            self.dropped_notes += 1

    def _forget(self, waiting: WaitingObservation) -> None:
        if waiting.picture is not None:
            self._bytes -= len(waiting.picture)


def _is_about(note: Note, id: str) -> bool:
    return isinstance(note, Feedback) and note.observation_id == id


_log = logging.getLogger(__name__)
# Often enough to be seen, seldom enough not to fill a disk that is full already.
_COMPLAINT_INTERVAL_S = 60.0


class Writer:
    """Writes the buffer's rows to the database; used by one thread."""

    def __init__(
        self,
        buffer: Buffer,
        store: Store,
        *,
        models: Mapping[tuple[str, str], ModelRecord],
        pictures: PictureFolder | None,
        batch_rows: int,
    ) -> None:
        """Create a writer.

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
        if self._complained_at is None or now - self._complained_at >= _COMPLAINT_INTERVAL_S:
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
            disagreements=[note for note in notes if isinstance(note, Disagreement)],
            models=[self._models[key] for key in keys if key in self._models],
        )

    def _with_picture(self, waiting: WaitingObservation) -> Observation:
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
        # Should the database be unreachable, the next attempt finds the picture written.
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
