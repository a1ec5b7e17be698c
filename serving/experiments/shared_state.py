"""What the workers of one service agree on about the canary: who runs, who is paused, and who tells of it.

Every worker sees a candidate come and go by itself. The first one to note it here writes the history; a pause
that one of them notes holds for all, and outlasts a restart.

Counts that the workers of one service share, in one file: whichever is asked tells all of them.

Each adds what it has counted since the last time. A worker that has not seen yet that another model is live
adds to counts that began before the ones in the file; these are of no use any more and dropped.
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
"""In the state folder of the live model."""


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A candidate that gets no requests for a while."""

    until: float
    """Unix time, seconds."""
    reason: str


class CanaryJournal:
    """A file that is read and written under a lock."""

    def __init__(self, folder: Path) -> None:
        """In this folder, which is made by whoever follows the model."""
        self._path = folder / JOURNAL
        self._lock = folder / f"{JOURNAL}.lock"

    def start(self, candidate: ModelIdentity, share: float) -> bool:
        """Note that a candidate gets this share; whether nobody had noted it."""
        running = {"candidate": candidate.to_dict(), "share": share}
        with self._opened() as notes:
            new = notes.get("running") != running
            notes["running"] = running
            return new

    def stop(self) -> ModelIdentity | None:
        """Note that none gets any; the one that did, if nobody had noted it."""
        if not self._path.exists():
            return None
        with self._opened() as notes:
            return _candidate(notes.pop("running", None))

    def pause(self, candidate: ModelIdentity, pause: Pause, now: float) -> bool:
        """Note that a candidate gets none for a while; whether nobody had noted it."""
        with self._opened() as notes:
            new = _pause(notes, candidate, now) is None
            if new:
                notes["paused"] = {"key": list(candidate.key), "until": pause.until, "reason": pause.reason}
            notes.pop("running", None)
            return new

    def paused(self, candidate: ModelIdentity, now: float) -> Pause | None:
        """The pause of a candidate at this time, if there is one."""
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
"""In the state folder of the live model."""


class SharedCounts:
    """A file that is read and written under a lock."""

    def __init__(self, folder: Path) -> None:
        """In this folder, which is made by whoever follows the model."""
        self._path = folder / COUNTS
        self._lock = folder / f"{COUNTS}.lock"

    def add(self, counted: Agreement) -> None:
        """Take over what one worker has counted.

        Raises:
            OSError: it cannot be written; nothing was taken over.
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
        """All counts; None when there are none that can be read."""
        values = read_json(self._path)
        try:
            return None if values is None else Agreement.from_dict(values)
        except ValueError:
            return None
