"""Counts that the workers of one service share, in one file: whichever is asked tells all of them.

Each adds what it has counted since the last time. A worker that has not seen yet that another model is live
adds to counts that began before the ones in the file; these are of no use any more and dropped.
"""

from __future__ import annotations

from pathlib import Path

from serving.following.target import locked, read_json, replace_json
from serving.trials.agreement import Agreement

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
