"""In every worker: when the state file names another model, admit it and put it in."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Protocol

from serving.failures import ModelRefused
from serving.following.target import Target, read_good, read_target, target_stamp, write_good
from serving.runtime.admission import Usable, admit
from serving.runtime.identity import ModelIdentity
from serving.runtime.live import LiveModel, ModelSlot
from serving.runtime.memory import give_back

_log = logging.getLogger(__name__)

# A stat costs microseconds; together with the poll it is how long a promotion takes to arrive.
_LOOK_S = 0.2
FROM_CACHE = "kept on disk from before"


class History(Protocol):
    """Where switches are written down."""

    def record_switch(
        self, time: float, previous: ModelIdentity | None, current: ModelIdentity, reason: str
    ) -> None:
        """Note that `current` took the place of `previous` at this Unix time."""


class Watcher:
    """A thread that keeps a slot in step with a state folder."""

    def __init__(
        self,
        folder: Path,
        slot: ModelSlot,
        *,
        location: str,
        threads: int,
        max_batch: int,
        history: History | None = None,
        usable: Usable | None = None,
    ) -> None:
        """Watch.

        Args:
            folder: state folder.
            slot: to be kept in step.
            location: that is followed, for messages.
            threads: that one call of the model may use.
            max_batch: the largest number of pictures that will be run at once.
            history: told of each switch, by one of the workers that share the folder.
            usable: whether this service can prepare a model's pictures.
        """
        self._folder = folder
        self._slot = slot
        self._location = location
        self._threads = threads
        self._max_batch = max_batch
        self._history = history
        self._usable = usable
        self._refused: Target | None = None
        self._told: tuple[str | None, tuple[str, ...]] = (None, ())
        self._tried = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self.target: Target | None = None
        """As last read."""

    def start(self) -> None:
        """Start the thread; a model kept on disk is live within its loading time."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after an admission that is under way."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        seen: tuple[int, int] | None = None
        while not self._ending.is_set():
            stamp = target_stamp(self._folder)
            if stamp != seen:
                seen = stamp
                self._look(first=self._slot.current is None)
            self._ending.wait(_LOOK_S)
            if self._tried:
                # By now the requests that were in flight have let go of the old model.
                self._tried = False
                give_back()

    def _look(self, *, first: bool) -> None:
        try:
            self.look()
            if first and self._slot.current is None:
                self._fall_back()
        except Exception:
            # Nothing that goes wrong here may end the watch: the live model goes on answering.
            _log.exception("the state folder %s cannot be followed", self._folder)

    def look(self) -> None:
        """Read the state file once and act on it."""
        self.target = target = read_target(self._folder)
        if target is None:
            self._slot.waiting(f"no model yet: {self._location} is being looked up")
            return
        self._tell(target)
        key = target.key
        live = self._slot.current
        if key is None or target.folder is None:
            self._slot.waiting(f"no model yet: {target.problem or 'it is being looked up'}")
        elif live is not None and live.identity.key == key:
            self._refused = None
            if target.refused is None:
                self._slot.refused = None
        elif not self._is_refused(target):
            self._admit(self._folder / target.folder, f"{self._location} names version {key[0]}")

    def _is_refused(self, target: Target) -> bool:
        """Not tried again at every look; fetched anew, it has another `since`."""
        refused = self._refused
        return refused is not None and (refused.key, refused.since) == (target.key, target.since)

    def _admit(self, folder: Path, reason: str) -> None:
        start = time.monotonic()
        self._tried = True
        try:
            new = admit(folder, threads=self._threads, max_batch=self._max_batch, usable=self._usable)
        except ModelRefused as error:
            self._refuse(error)
            return
        self._refused = None
        previous = self._slot.switch(new, reason)
        _log.info(
            "version %s (%s) is live after %.2f s: %s",
            new.identity.version, new.identity.sha256[:12], time.monotonic() - start, reason,
        )  # fmt: skip
        for warning in new.warnings:
            _log.warning("version %s: %s", new.identity.version, warning)
        del previous
        self._record(folder, new, reason)

    def _refuse(self, error: ModelRefused) -> None:
        self._refused = self.target
        self._slot.refuse(error)
        self._slot.waiting(f"no model yet: {error}")
        _log.error("%s", error)

    def _fall_back(self) -> None:
        """At the start: the newest was refused or its files are gone, so the last good one has to do."""
        good = read_good(self._folder)
        target = self.target
        if good is None or (target is not None and good[1].key == target.key):
            return
        # It stays refused, and seen to be, while the older one answers.
        refused, shown = self._refused, self._slot.refused
        self._admit(good[0], FROM_CACHE)
        if self._slot.current is not None:
            self._refused, self._slot.refused = refused, shown

    def _record(self, folder: Path, new: LiveModel, reason: str) -> None:
        try:
            previous = write_good(self._folder, folder, new.identity)
        except OSError as error:
            _log.warning("the live model cannot be noted in %s: %s", self._folder, error)
            return
        if self._history is not None and previous != new.identity:
            self._history.record_switch(new.since, previous, new.identity, reason)

    def _tell(self, target: Target) -> None:
        """Log what a person should know, once for each change."""
        problem = target.problem
        if (problem, target.warnings) == self._told:
            return
        live = self._slot.current
        if problem is not None and problem != self._told[0]:
            keeps = f"; version {live.identity.version} keeps serving" if live is not None else ""
            _log.warning("%s%s", problem, keeps)
        elif problem is None and self._told[0] is not None:
            _log.info("%s answers again", self._location)
        for warning in set(target.warnings) - set(self._told[1]):
            _log.warning("%s", warning)
        self._told = (problem, target.warnings)
