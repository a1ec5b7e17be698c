"""State of the experiments that the workers of one service share through files.

`CanaryJournal` holds which candidate runs and which is paused. Each worker notices changes of the candidate
by itself; the first one that records a change here also writes it to the history. A pause that one worker
records applies to all and survives a restart.

`SharedCounts` holds the shadow's counts, so that every worker reports the sum of all. Each worker adds what
it has counted since its last call. Counts of a worker that has not noticed a change of the live model yet
began earlier than those in the file and are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from serving.experiments.agreement import Agreement, AgreementRecord
from serving.inference.model_slot import ModelIdentity
from serving.model_sync.state import locked, read_record, write_record

JOURNAL = "canary.json"
"""File name in the state folder of the live model."""


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A candidate that gets no requests for a while."""

    until: float
    """Unix time, seconds."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class RunningCandidate:
    """A candidate that gets requests."""

    candidate: ModelIdentity
    share: float


@dataclass(frozen=True, kw_only=True)
class PausedCandidate:
    """A candidate that gets no requests for a while."""

    key: tuple[str, str]
    """As `ModelIdentity.key`."""
    until: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class CanaryNotes:
    """Content of the journal."""

    running: RunningCandidate | None = None
    paused: PausedCandidate | None = None

    def pause(self, candidate: ModelIdentity, now: float) -> Pause | None:
        """Return the pause of a candidate at this time, if there is one."""
        paused = self.paused
        if paused is None or paused.key != candidate.key or now >= paused.until:
            return None
        return Pause(until=paused.until, reason=paused.reason)


class CanaryJournal:
    """The canary's shared state: a file that is read and written under a lock."""

    def __init__(self, folder: Path) -> None:
        """Use the file in a state folder, which `ModelSync` creates."""
        self._path = folder / JOURNAL
        self._lock = folder / f"{JOURNAL}.lock"

    def start(self, candidate: ModelIdentity, share: float) -> bool:
        """Record that a candidate gets this share; True if no other worker has recorded it yet."""
        running = RunningCandidate(candidate=candidate, share=share)
        with locked(self._lock):
            notes = self._read()
            if notes.running == running:
                return False
            write_record(self._path, replace(notes, running=running))
            return True

    def stop(self) -> ModelIdentity | None:
        """Record that no candidate runs; return the one that ran, unless another worker recorded it."""
        if not self._path.exists():
            return None
        with locked(self._lock):
            notes = self._read()
            if notes.running is None:
                return None
            write_record(self._path, replace(notes, running=None))
            return notes.running.candidate

    def pause(self, candidate: ModelIdentity, pause: Pause, now: float) -> bool:
        """Record the pause of a candidate; True if no other worker has recorded one yet."""
        with locked(self._lock):
            notes = self._read()
            new = notes.pause(candidate, now) is None
            paused = PausedCandidate(key=candidate.key, until=pause.until, reason=pause.reason)
            write_record(self._path, CanaryNotes(paused=paused if new else notes.paused))
            return new

    def paused(self, candidate: ModelIdentity, now: float) -> Pause | None:
        """Return the pause of a candidate at this time, if there is one."""
        return self._read().pause(candidate, now)

    def _read(self) -> CanaryNotes:
        return read_record(self._path, CanaryNotes) or CanaryNotes()


COUNTS = "shadow.json"
"""File name in the state folder of the live model."""


class SharedCounts:
    """The shadow's counts of all workers: a file that is read and written under a lock."""

    def __init__(self, folder: Path) -> None:
        """Use the file in a state folder, which `ModelSync` creates."""
        self._path = folder / COUNTS
        self._lock = folder / f"{COUNTS}.lock"

    def add(self, counted: Agreement) -> None:
        """Add the counts of one worker.

        Raises:
            OSError: the file cannot be written; nothing was added.
        """
        with locked(self._lock):
            kept = self.read()
            if kept is not None and kept.pair == counted.pair:
                kept.merge(counted)
                counted = kept
            elif kept is not None and counted.since < kept.since:
                return
            write_record(self._path, counted.record())

    def read(self) -> Agreement | None:
        """Return the counts of all workers; None when no readable file exists."""
        record = read_record(self._path, AgreementRecord)
        return None if record is None else Agreement.of(record)
