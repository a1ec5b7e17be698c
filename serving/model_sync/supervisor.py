"""Keeps one poller running for each state folder, in one of several workers.

The worker that holds the lock runs the poller. When that worker ends, the lock is released and the poller
ends with it; the next worker that takes the lock starts another.
"""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from serving.model_sync.location import TRACKING_URI
from serving.model_sync.state import POLLER_LOCK
from serving.processes import Child

_log = logging.getLogger(__name__)

_LOCK_PAUSE_S = 1.0
_WATCH_PAUSE_S = 0.2
_FIRST_BACKOFF_S = 1.0
_MAX_BACKOFF_S = 60.0
# After this run time the end of a poller counts as a new fault: the pause before a restart is short again.
_STEADY_S = 60.0
_MODULE = "serving.model_sync.poller"


class Supervisor:
    """Thread that runs the poller while this worker holds the lock."""

    def __init__(
        self,
        folder: Path,
        *,
        location: str,
        tracking_uri: str,
        poll_s: float,
        trusted_keys: Sequence[Path] = (),
    ) -> None:
        self._folder = folder
        keys = [f"--trusted-key={key.absolute()}" for key in trusted_keys]
        self._arguments = [location, str(folder), "--poll-s", str(poll_s), *keys]
        self._variables = {TRACKING_URI: tracking_uri}
        self._child: Child | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self.restarts = 0
        """How often the poller ended and was started again."""

    @property
    def pid(self) -> int | None:
        """Process id of the poller; None when another worker runs it or it is being restarted."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the poller and the thread; returns when both have ended."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def _supervise(self) -> None:
        lock = self._lock()
        if lock is None:
            return
        with lock:
            self._keep_running()

    def _lock(self) -> TextIO | None:
        """Wait for the lock and return it; None when the service ends first."""
        file = (self._folder / POLLER_LOCK).open("w")
        while not self._ending.is_set():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._ending.wait(_LOCK_PAUSE_S)
            else:
                return file
        file.close()
        return None

    def _keep_running(self) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while not self._ending.is_set():
            started = time.monotonic()
            code = self._run_child()
            if self._ending.is_set():
                return
            if time.monotonic() - started > _STEADY_S:
                backoff_s = _FIRST_BACKOFF_S
            _log.warning("the model poller ended (exit status %s), another starts in %g s", code, backoff_s)
            self._ending.wait(backoff_s)
            backoff_s = min(2 * backoff_s, _MAX_BACKOFF_S)
            self.restarts += 1

    def _run_child(self) -> int | str:
        """Start a poller and wait until it or the service ends."""
        try:
            child = Child(_MODULE, self._arguments, environment=self._variables)
        except OSError as error:
            return str(error)
        self._child = child
        while child.poll() is None and not self._ending.is_set():
            self._ending.wait(_WATCH_PAUSE_S)
        # It may be killed at any time: it writes its files atomically.
        return child.end()
