"""State of the experiments that the workers of one service share through files.

`CanaryJournal` holds which candidate runs and which is paused. Each worker notices changes of the candidate
by itself; the first one that records a change here also writes it to the history. A pause that one worker
records applies to all and survives a restart.

`SharedCounts` holds the shadow's counts, so that every worker reports the sum of all. Each worker adds what
it has counted since its last call. Counts of a worker that has not noticed a change of the live model yet
began earlier than those in the file and are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.experiments.agreement import Agreement
from serving.inference.model_slot import ModelIdentity
from serving.model_sync.state import locked, read_json, replace_json

JOURNAL = "canary.json"
"""File name in the state folder of the live model."""


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A candidate that gets no requests for a while."""

    until: float
    """Unix time, seconds."""
    reason: str


class CanaryJournal:
    """The canary's shared state: a file that is read and written under a lock."""

    def __init__(self, folder: Path) -> None:
        """Use the file in a state folder, which `ModelSync` creates."""
        self._path = folder / JOURNAL
        self._lock = folder / f"{JOURNAL}.lock"

    def start(self, candidate: ModelIdentity, share: float) -> bool:
        """Record that a candidate gets this share; True if no other worker has recorded it yet."""
        running = {"candidate": candidate.to_dict(), "share": share}
        with self._opened() as notes:
            new = notes.get("running") != running
            notes["running"] = running
            return new

    def stop(self) -> ModelIdentity | None:
        """Record that no candidate runs; return the one that ran, unless another worker recorded it."""
        if not self._path.exists():
            return None
        with self._opened() as notes:
            return _candidate(notes.pop("running", None))

    def pause(self, candidate: ModelIdentity, pause: Pause, now: float) -> bool:
        """Record the pause of a candidate; True if no other worker has recorded one yet."""
        with self._opened() as notes:
            new = _pause(notes, candidate, now) is None
            if new:
                notes["paused"] = {"key": list(candidate.key), "until": pause.until, "reason": pause.reason}
            notes.pop("running", None)
            return new

    def paused(self, candidate: ModelIdentity, now: float) -> Pause | None:
        """Return the pause of a candidate at this time, if there is one."""
        return _pause(read_json(self._path) or {}, candidate, now)

    @contextmanager
    def _opened(self) -> Iterator[dict[str, Any]]:
        with locked(self._lock):
            notes = read_json(self._path) or {}
            before = dict(notes)
            yield notes
            if notes != before:
                replace_json(self._path, notes)


def _candidate(running: object) -> ModelIdentity | None:
    try:
        return ModelIdentity.from_dict(running["candidate"]) if isinstance(running, dict) else None
    except (KeyError, ValueError, AttributeError):
        return None


def _pause(notes: dict[str, Any], candidate: ModelIdentity, now: float) -> Pause | None:
    noted = notes.get("paused")
    if not isinstance(noted, dict) or noted.get("key") != list(candidate.key):
        return None
    until, reason = noted.get("until"), noted.get("reason")
    if not isinstance(until, (int, float)) or now >= until:
        return None
    return Pause(until=until, reason=str(reason))


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
            replace_json(self._path, counted.to_dict())

    def read(self) -> Agreement | None:
        """Return the counts of all workers; None when no readable file exists."""
        values = read_json(self._path)
        try:
            return None if values is None else Agreement.from_dict(values)
        except ValueError:
            return None
