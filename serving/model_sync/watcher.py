"""Thread in every worker that admits the model in the state file and switches the slot to it."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Literal, Protocol

from serving.errors import ModelRefused, ModelTimeout
from serving.errors.requests import NotReady
from serving.inference.admission import LIMIT_S, InputCheck, admit
from serving.inference.model_slot import LiveModel, ModelIdentity, ModelSignature, ModelSlot, release_memory
from serving.model_sync.state import Target, read_good, read_target, target_stamp, write_good
from serving.signatures import SignatureCheck

_log = logging.getLogger(__name__)

# A stat costs microseconds; with the poll interval this is the delay of a promotion.
_LOOK_S = 0.2
FROM_CACHE = "kept on disk from before"
Role = Literal["live", "canary", "shadow"]
"""Role of a slot's model, for the log."""


class History(Protocol):
    """Records switches."""

    def record_switch(
        self,
        time: float,
        previous: ModelIdentity | None,
        current: ModelIdentity,
        reason: str,
        *,
        kind: Literal["live", "canary"],
        promoted_by: str | None = None,
        signature: ModelSignature | None = None,
    ) -> None:
        """Record that `current` replaced `previous` at this Unix time, as live model or as canary.

        `promoted_by` is the user who promoted it by command, `signature` that of its files; None where that
        is unknown.
        """


class Watcher:
    """Thread that keeps a slot in step with a state folder."""

    def __init__(
        self,
        folder: Path,
        slot: ModelSlot,
        *,
        location: str,
        threads: int,
        max_batch: int,
        history: History | None = None,
        usable: InputCheck | None = None,
        limit_s: float = LIMIT_S,
        role: Role = "live",
        signed: SignatureCheck | None = None,
    ) -> None:
        """Create the watcher; call `start` to begin.

        Args:
            folder: state folder.
            slot: slot that receives the models.
            location: model location, for messages.
            threads: threads that one call of the model may use.
            max_batch: maximum number of pictures in one run.
            history: where one of the workers that share the folder records each switch.
            usable: checks whether this service can prepare a model's pictures.
            limit_s: maximum time to load a model and for each of its runs, seconds.
            role: role of the model, for the log.
            signed: checks that a trusted key signed a model's files; None: not checked.
        """
        self._folder = folder
        self._slot = slot
        self._location = location
        self._threads = threads
        self._max_batch = max_batch
        self._history = history
        self._usable = usable
        self._limit_s = limit_s
        self._role = role
        self._signed = signed
        self._refused: Target | None = None
        self._stopped: dict[str, ModelRefused] = {}
        """Digest → refusal of each model that took too long; this process does not try it again."""
        self._before: tuple[Path, ModelIdentity] | None = None
        """The model that was live before the current one, in this process."""
        self._seen: tuple[int, int] | None = None
        self._pending = False
        """Whether the state file was replaced while a model was admitted."""
        self._logged: tuple[str | None, tuple[str, ...]] = (None, ())
        self._tried = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self.target: Target | None = None
        """The state file as last read."""
        self.reports = 0
        """How often the poller has replaced the state file since the start."""
        self.heard_s = time.monotonic()
        """Monotonic time of the last replacement, or of this object's creation."""

    def start(self) -> None:
        """Start the thread; a cached model becomes live within its loading time."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after an admission in progress."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._ending.is_set():
            if self._read() or self._pending:
                self._pending = False
                self._look(first=self._slot.current is None)
            self._check_live()
            self._ending.wait(_LOOK_S)
            if self._tried:
                # By now the requests in flight have released the old model.
                self._tried = False
                release_memory()

    def _read(self) -> bool:
        """Read the state file if it was replaced, or at the start; True if it was read."""
        stamp = target_stamp(self._folder)
        if stamp == self._seen:
            return False
        if self._seen is not None:
            self.reports += 1
            self.heard_s = time.monotonic()
        self._seen = stamp
        self.target = read_target(self._folder)
        return True

    def _look(self, *, first: bool) -> None:
        try:
            self.look()
            if first and self._slot.current is None:
                self._fall_back()
        except Exception:
            # No error may end this thread: the live model keeps answering.
            _log.exception("could not act on the state folder %s", self._folder)

    def look(self) -> None:
        """Read the state file if it was replaced, and act on it."""
        self._read()
        target = self.target
        if target is None:
            self._slot.waiting(f"no model yet: {self._location} is being looked up")
            return
        if self.reports:
            self._log_changes(target)
        key = target.key
        live = self._slot.current
        if key is None or target.folder is None:
            self._slot.waiting(f"no model yet: {target.problem or 'it is being looked up'}")
        elif live is not None and live.identity.key == key:
            self._refused = None
            if target.refused is None:
                self._slot.refused = None
        elif not self._is_refused(target):
            self._admit_target(target, self._folder / target.folder, key)

    def _is_refused(self, target: Target) -> bool:
        """Whether this target was refused already; when its files are fetched again, `since` changes."""
        refused = self._refused
        return refused is not None and (refused.key, refused.since) == (target.key, target.since)

    def _admit_target(self, target: Target, folder: Path, key: tuple[str, str]) -> None:
        version, sha256 = key
        try:
            if (stopped := self._stopped.get(sha256)) is not None:
                raise ModelRefused(version=version, sha256=sha256, step=stopped.step, reason=stopped.reason)
            self._slot.waiting(f"no model yet: version {version} is being checked")
            reason = f"{self._location} names version {version}"
            self._admit(folder, reason, promoted_by=target.promoted_by)
        except ModelRefused as error:
            self._refused = target
            self._slot.refuse(error)
            self._slot.waiting(f"no model yet: {error}")
            _log.error("%s", error)

    def _admit(self, folder: Path, reason: str, *, promoted_by: str | None = None) -> None:
        """Admit a model and switch to it.

        Raises:
            ModelRefused: a check failed.
        """
        start = time.monotonic()
        self._tried = True
        try:
            new = admit(
                folder,
                threads=self._threads,
                max_batch=self._max_batch,
                usable=self._usable,
                limit_s=self._limit_s,
                ending=self._is_ending,
                signed=self._signed,
            )
        except NotReady:
            return
        except ModelRefused as error:
            if isinstance(error.__cause__, ModelTimeout):
                self._stopped[error.sha256] = error
            raise
        self._refused = None
        previous = self._slot.switch(new, reason)
        self._before = (previous.folder, previous.identity) if previous is not None else None
        _log.info(
            "version %s (%s) is %s after %.2f s: %s",
            new.identity.version, new.identity.sha256[:12],
            "live" if self._role == "live" else f"ready as {self._role}",
            time.monotonic() - start, reason,
        )  # fmt: skip
        for warning in new.warnings:
            _log.warning("version %s: %s", new.identity.version, warning)
        del previous
        self._record(folder, new, reason, promoted_by=promoted_by)

    def _is_ending(self) -> bool:
        """Return whether the service ends; called during an admission, it also reads new reports."""
        self._pending = self._read() or self._pending
        return self._ending.is_set()

    def _fall_back(self) -> None:
        """At the start, use the last good model when the newest was refused or its files are missing."""
        good = read_good(self._folder)
        target = self.target
        if good is not None and (target is None or good[1].key != target.key):
            self._put_back(good, FROM_CACHE)

    def _check_live(self) -> None:
        """Withdraw a live model whose run did not return, and switch back to the previous one."""
        live = self._slot.current
        if live is None or live.classifier.timed_out is None or self._ending.is_set():
            return
        version, sha256 = live.identity.key
        error = ModelRefused(
            version=version, sha256=sha256, step="run", reason=live.classifier.timed_out.reason
        )
        self._stopped[sha256] = error
        self._refused = self.target
        before = self._before
        del live
        self._slot.withdraw(error)
        _log.error("%s", error)
        if before is not None:
            self._put_back(before, f"version {version} was taken out of service")

    def _put_back(self, model: tuple[Path, ModelIdentity], reason: str) -> None:
        folder, identity = model
        if identity.sha256 in self._stopped:
            return
        # The version that should be live stays marked as refused while the older one answers.
        refused, shown = self._refused, self._slot.refused
        try:
            self._admit(folder, reason)
        except ModelRefused as error:
            _log.error("%s", error)
        if self._slot.current is not None:
            self._refused, self._slot.refused = refused, shown

    def _record(self, folder: Path, new: LiveModel, reason: str, *, promoted_by: str | None) -> None:
        try:
            previous = write_good(self._folder, folder, new.identity)
        except OSError as error:
            _log.warning("the live model could not be recorded in %s: %s", self._folder, error)
            return
        if self._history is not None and previous != new.identity:
            self._history.record_switch(
                new.since,
                previous,
                new.identity,
                reason,
                kind="live",
                promoted_by=promoted_by,
                signature=new.signature,
            )

    def _log_changes(self, target: Target) -> None:
        """Log new problems and warnings, once for each change."""
        problem = target.problem
        if (problem, target.warnings) == self._logged:
            return
        live = self._slot.current
        if problem is not None and problem != self._logged[0]:
            keeps = f"; version {live.identity.version} keeps serving" if live is not None else ""
            _log.warning("%s%s", problem, keeps)
        elif problem is None and self._logged[0] is not None:
            _log.info("%s answers again", self._location)
        for warning in set(target.warnings) - set(self._logged[1]):
            _log.warning("%s", warning)
        self._logged = (problem, target.warnings)
