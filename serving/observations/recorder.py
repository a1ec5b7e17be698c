"""Accepts observations without waiting and writes them in a background thread.

    recorder = Recorder(store)
    recorder.start()
    recorder.record(observation)        # microseconds; never blocks, never raises
    await recorder.feedback(id, "sad")
    recorder.close()                    # everything is in the database

Rows reach the database within half a second, which is all that kill −9 can cost. While the database is
unreachable they wait in a bounded buffer; when it is full, the oldest are dropped and counted.

Feedback, look-ups and deletions know rows that are still on their way: one in this process's buffer is found
there, one in another worker's is waited for.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from serving.errors.operation import StoreError, StoreUnavailable
from serving.errors.requests import ObservationUnknown
from serving.observations.buffer import Buffer, Writer
from serving.observations.images import PictureFolder
from serving.observations.records import (
    Disagreement,
    Feedback,
    ModelRecord,
    Observation,
    StoredObservation,
    Switch,
)
from serving.observations.store import Store

_log = logging.getLogger(__name__)
# Deleting what is too old may be late by this much.
_CLEANUP_INTERVAL_S = 3600.0
# While closing, a database that is unreachable is tried again this often.
_CLOSING_RETRY_S = 0.1
_LOOK_AGAIN_S = 0.1
_CALLS = 4
_MEBIBYTE = 1 << 20
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RecorderStats:
    """Counts since the start of this process."""

    written: int
    """Observations that are in the database."""
    waiting: int
    """Rows of any kind that are not, yet."""
    dropped: int
    """Rows of any kind that are lost: the buffer was full, or the database refused them."""
    kept_pictures: int
    dropped_pictures: int
    failure: str | None
    """Why rows wait; None while all is well."""


class Recorder:
    """One for each process; every method may be called from any thread."""

    def __init__(
        self,
        store: Store,
        *,
        pictures: PictureFolder | None = None,
        retention_s: float | None = None,
        pictures_retention_s: float | None = None,
        flush_s: float = 0.5,
        batch_rows: int = 500,
        capacity: int = 10_000,
        picture_bytes: int = 64 * _MEBIBYTE,
    ) -> None:
        """Create the recorder; call `start` to begin.

        Args:
            store: where rows go.
            pictures: where pictures go; None keeps none.
            retention_s: age at which observations are deleted; None keeps them.
            pictures_retention_s: age at which kept pictures are deleted, up to a day later.
            flush_s: longest that a row waits while the database is well.
            batch_rows: most rows of one transaction; as many waiting rows are written at once.
            capacity: most rows that wait; a row takes about 1 kB and its embedding's 2 bytes per feature.
            picture_bytes: most bytes of pictures that wait.
        """
        self._store = store
        self._pictures = pictures
        self._retention_s = retention_s
        self._pictures_retention_s = pictures_retention_s
        self._flush_s = flush_s
        self._batch_rows = batch_rows
        self._buffer = Buffer(capacity=capacity, picture_bytes=picture_bytes)
        self._models: dict[tuple[str, str], ModelRecord] = {}
        self._writer = Writer(
            self._buffer, store, models=self._models, pictures=pictures, batch_rows=batch_rows
        )
        self._wake = threading.Event()
        self._stop_by: float | None = None
        self._tend_at = time.monotonic()
        # Their own: calls to a database that does not answer must not hold up anything else.
        self._calls = ThreadPoolExecutor(_CALLS, thread_name_prefix="observations")
        self._thread = threading.Thread(target=self._run, name="observations", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def record(self, observation: Observation, *, picture: bytes | None = None) -> None:
        """Take one row; never blocks, never raises.

        Args:
            observation: what the answer leaves behind.
            picture: the file as it was sent; kept when the operator asked for it and its id is drawn.
        """
        if picture is not None and (self._pictures is None or not self._pictures.keeps(observation.id)):
            picture = None
        if self._buffer.add(observation, picture) == self._batch_rows:
            self._wake.set()

    def record_switch(self, switch: Switch) -> None:
        """Take one change of the live model; never blocks, never raises."""
        self._buffer.note(switch)

    def record_disagreement(self, id: str, distance: float) -> None:
        """Note how far the shadow's answer is from a recorded one; never blocks, never raises.

        Args:
            id: of the answer.
            distance: total variation of both answers, in [0, 1].
        """
        self._buffer.note_if_room(Disagreement(observation_id=id, distance=distance))

    def remember(self, model: ModelRecord) -> None:
        """Know a model that answers: it is written with the first of its rows."""
        self._models[model.version, model.sha256] = model

    def stats(self) -> RecorderStats:
        """What happened so far."""
        buffer, writer = self._buffer, self._writer
        return RecorderStats(
            written=writer.written,
            waiting=len(buffer),
            dropped=writer.lost,
            kept_pictures=writer.kept_pictures,
            dropped_pictures=buffer.dropped_pictures,
            failure=writer.failure,
        )

    async def observation(self, id: str) -> StoredObservation:
        """One answer with its feedback and model, written or not.

        Raises:
            ObservationUnknown: no such answer is known.
            StoreUnavailable: it is not waiting here, and the database is unreachable.
        """
        found = self._buffer.find(id)
        if found is not None:
            row = found.observation
            return replace(found, model=self._models.get((row.model_version, row.model_sha256)))
        return await self._patiently(id, lambda: self._store.observation(id))

    async def feedback(self, id: str, emotion: str, *, face: int = 0) -> None:
        """Store the true emotion of a face of an earlier answer, written or not; the last one counts.

        Args:
            id: of the answer.
            emotion: a class of its model.
            face: index in the answer's faces, which the caller has checked; 0: the largest one.

        Raises:
            ObservationUnknown: no such answer is known.
            StoreUnavailable: it is not waiting here, and the database is unreachable.
        """
        row = Feedback(observation_id=id, face=face, time=time.time(), emotion=emotion)
        if not self._buffer.note_if_waiting(row):
            await self._patiently(id, lambda: self._store.feedback(row))

    async def delete(self, id: str) -> None:
        """Delete an answer, its feedback and its picture, for good.

        Raises:
            ObservationUnknown: no such answer is known.
            StoreUnavailable: it is not waiting here, and the database is unreachable.
        """
        if self._buffer.remove(id):
            return
        while self._buffer.is_taken(id):
            # Deleting now would delete nothing, and the row would be written afterwards.
            if self._writer.failure is not None:
                raise StoreUnavailable(url=self._store.url, reason="its row cannot be written, nor deleted")
            await asyncio.sleep(_LOOK_AGAIN_S)
        await self._patiently(id, lambda: self._store.delete(id))

    def close(self, timeout_s: float = 5.0) -> None:
        """Write everything and end; what a missing database does not take in time is lost, and logged."""
        self._stop_by = time.monotonic() + timeout_s
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s + _CLOSING_RETRY_S)
        self._calls.shutdown(wait=False)

    async def _patiently(self, id: str, call: Callable[[], T]) -> T:
        """Call again while a very young id is unknown: its row may still be in another worker's buffer."""
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._calls, call)
            except ObservationUnknown:
                if not 0 <= time.time() - _made_at(id) < 2 * self._flush_s + _LOOK_AGAIN_S:
                    raise
            await asyncio.sleep(_LOOK_AGAIN_S)

    def _run(self) -> None:
        while self._stop_by is None:
            self._wake.wait(self._flush_s)
            self._wake.clear()
            self._write_all()
            self._tend()
        self._finish(self._stop_by)

    def _write_all(self) -> None:
        """Empty the buffer as far as the database lets."""
        try:
            while self._writer.write_next() and len(self._buffer) >= self._batch_rows:
                pass
        except Exception:
            # A thread that died would lose every later row; the next batch may be a better one.
            _log.exception("a batch of observations cannot be written and is given up")
            self._buffer.done(lost=True)

    def _tend(self) -> None:
        """Delete what is too old, a batch at a time so that new rows do not wait for it."""
        if time.monotonic() < self._tend_at:
            return
        try:
            if self._pictures is not None and self._pictures_retention_s is not None:
                self._pictures.purge(time.time() - self._pictures_retention_s)
            if self._retention_s is not None and self._store.purge_batch(time.time() - self._retention_s):
                return
        except (StoreError, OSError) as error:
            self._writer.complain(f"old observations cannot be deleted: {error}")
        self._tend_at = time.monotonic() + _CLEANUP_INTERVAL_S

    def _finish(self, stop_by: float) -> None:
        while True:
            self._write_all()
            if not len(self._buffer):
                return
            if time.monotonic() >= stop_by:
                break
            if self._writer.failure is not None:
                time.sleep(_CLOSING_RETRY_S)
        self._writer.give_up()


def _made_at(id: str) -> float:
    """When an id was made, seconds since 1970: UUIDs of version 7 begin with it (RFC 9562, 5.7)."""
    try:
        return int(id.replace("-", "")[:12], 16) / 1000
    except ValueError:
        return 0.0
