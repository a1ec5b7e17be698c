"""Writes log lines from a thread of its own, many at once: none of it is a reason for a request to wait."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TextIO

# A line may be late by this much. Waking a thread for each line, and writing each by itself, costs as much
# processor time as all the rest of the access log.
_GATHER_S = 0.05
# While nobody reads what is written; a record takes about a kilobyte.
_MOST_WAITING = 20_000


class LogWriter(logging.Handler):
    """Takes records without waiting; `logging.shutdown`, which Python calls at its end, writes the last.

    A process that ends by a signal has no such end: `finish` when its end begins.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._waiting: deque[logging.LogRecord] = deque()
        self._dropped = 0
        self._finishing = False
        self._writing = threading.Lock()
        self._wake = threading.Event()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """None: a deque takes records from several threads at once."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record."""
        if len(self._waiting) >= _MOST_WAITING:
            self._dropped += 1
            return
        self._waiting.append(record)
        if self._finishing:
            self.flush()
        elif not self._wake.is_set():
            self._wake.set()

    def finish(self) -> None:
        """Write what waits, and from now on each record when it comes."""
        self._finishing = True
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            # Those that come meanwhile are next: this ends however fast they come.
            lines = [self.format(self._waiting.popleft()) for _ in range(len(self._waiting))]
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                lines.append(self.format(_told(dropped)))
            if lines:
                self._stream.write("\n".join([*lines, ""]))
                self._stream.flush()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(_GATHER_S)
            self._wake.clear()
            try:
                self.flush()
            except (OSError, ValueError):
                # Nobody reads any more, or the stream is closed: there is nowhere to say so.
                continue


class Forward(logging.Handler):
    """Hands records to another handler; for filters of its own."""

    def __init__(self, target: logging.Handler) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        self._target.handle(record)


def _told(dropped: int) -> logging.LogRecord:
    return logging.LogRecord(
        "serving.http", logging.WARNING, __file__, 0, "%d log lines were not taken in time", (dropped,), None
    )
