"""Model synchronisation as the application uses it: started to get a live model, stopped at the end.

sync = ModelSync("models:/emotion@production", slot, cache=Path(".mien/models"), …)
sync.start()
…
sync.stop()
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.errors.operation import StartRefused
from serving.inference.admission import LIMIT_S, InputCheck
from serving.inference.model_slot import ModelSlot, Refusal
from serving.model_sync.location import parse_location
from serving.model_sync.state import RefusedDownload, state_folder
from serving.model_sync.supervisor import Supervisor
from serving.model_sync.watcher import History, Role, Watcher
from serving.signatures import signature_check

_SQLITE = "sqlite:///"
# Missing reports count as a problem after three polls and one minute; a download can take that long.
_STALE_POLLS = 3
_STALE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class ModelSyncStatus:
    """Status of the synchronisation."""

    location: str
    """The model location."""
    checked_at: float | None
    """Unix time of the last poll, seconds; None before the first."""
    problem: str | None
    """Why the last poll found no new version, or why polls fail; None without a problem."""
    warnings: tuple[str, ...]
    """Warnings of the registry and of the live model."""
    refused: Refusal | None
    """The version that should be live but was refused, and why."""
    follower_pid: int | None
    """Process id of the poller; None in a worker when another worker runs it."""
    follower_restarts: int
    absent: bool
    """Whether the location named no model at the last poll that the source answered."""


class ModelSync:
    """Keeps a slot in step with a model location; one object for each location in each worker."""

    def __init__(
        self,
        location: str,
        slot: ModelSlot,
        *,
        cache: Path,
        tracking_uri: str,
        poll_s: float = 5.0,
        threads: int = 1,
        max_batch: int = 16,
        history: History | None = None,
        setting: str = "MIEN_MODEL",
        usable: InputCheck | None = None,
        limit_s: float = LIMIT_S,
        role: Role = "live",
        trusted_keys: Sequence[Path] = (),
    ) -> None:
        """Create the synchronisation; call `start` to begin.

        Args:
            location: `models:/…` or a path.
            slot: slot that receives the models.
            cache: folder for models; `start` creates it.
            tracking_uri: MLflow's registry; a relative `sqlite:///` path is relative to the current folder.
            poll_s: seconds between two polls.
            threads: threads that one call of the model may use.
            max_batch: maximum number of pictures in one run.
            history: where each switch is recorded.
            setting: setting that `location` comes from, for messages.
            usable: checks whether this service can prepare a model's pictures, before a switch.
            limit_s: maximum time to load a model and for each of its runs, seconds.
            role: role of the model, for the log.
            trusted_keys: public keys, one of which must have signed a model's files; empty: not checked.

        Raises:
            LocationInvalid: `location` is not a model location.
        """
        self._location = str(parse_location(location, setting=setting))
        self._slot = slot
        self._poll_s = poll_s
        uri = absolute_uri(tracking_uri)
        self._folder = state_folder(cache.absolute(), self._location, uri)
        self._watcher = Watcher(
            self._folder,
            slot,
            location=self._location,
            threads=threads,
            max_batch=max_batch,
            history=history,
            usable=usable,
            limit_s=limit_s,
            role=role,
            signed=signature_check(trusted_keys),
        )
        self._supervisor = Supervisor(
            self._folder, location=self._location, tracking_uri=uri, poll_s=poll_s, trusted_keys=trusted_keys
        )

    def start(self) -> None:
        """Start the threads and the poller; returns at once.

        Raises:
            StartRefused: the cache folder cannot be created.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartRefused(
                f"MIEN_CACHE_DIR={self._folder.parent}: {reason}; expected a folder that can be written"
            ) from error
        self._watcher.start()
        self._supervisor.start()

    def stop(self) -> None:
        """End the child and the threads; the live model stays in the slot."""
        self._supervisor.stop()
        self._watcher.stop()

    def status(self) -> ModelSyncStatus:
        """Return the status of the synchronisation."""
        target = self._watcher.target
        live = self._slot.current
        return ModelSyncStatus(
            location=self._location,
            checked_at=target.checked_at or None if target else None,
            problem=self._problem(),
            warnings=(*(target.warnings if target else ()), *(live.warnings if live else ())),
            refused=self._slot.refused or (_refusal(target.refused) if target else None),
            follower_pid=self._supervisor.pid,
            follower_restarts=self._supervisor.restarts,
            absent=self.absent,
        )

    @property
    def folder(self) -> Path:
        """State folder of the location, shared by all processes with the same cache."""
        return self._folder

    @property
    def absent(self) -> bool:
        """Whether the location named no model at the last poll; a model may still be live."""
        target = self._watcher.target
        return target is not None and target.absent

    def _problem(self) -> str | None:
        watcher = self._watcher
        silent_s = time.monotonic() - watcher.heard_s
        if silent_s > max(_STALE_POLLS * self._poll_s, _STALE_S):
            return (
                f"the model poller has not reported for {silent_s:.0f} s; "
                "the registry hangs or a download is slow"
            )
        # A state file from an earlier process says nothing about the present.
        return watcher.target.problem if watcher.target is not None and watcher.reports else None


def _refusal(refused: RefusedDownload | None) -> Refusal | None:
    if refused is None:
        return None
    return Refusal(
        version=refused.version,
        sha256=refused.sha256,
        step=refused.step,
        reason=refused.reason,
        time=refused.time,
    )


def absolute_uri(uri: str) -> str:
    """Return a tracking URI that does not depend on the working directory."""
    if not uri.startswith(_SQLITE):
        return uri
    return f"{_SQLITE}{Path(uri.removeprefix(_SQLITE)).absolute()}"
