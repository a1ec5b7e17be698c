"""What the application starts and stops to have a live model.

following = Following("models:/emotion@production", slot, cache=Path(".mien/models"), …)
following.start()
…
following.stop()
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from serving.errors import StartRefused
from serving.inference.admission import LIMIT_S, InputCheck
from serving.inference.model_slot import ModelSlot, Refusal
from serving.model_sync.location import parse_location
from serving.model_sync.state import RefusedDownload, state_folder
from serving.model_sync.supervisor import Supervisor
from serving.model_sync.watcher import History, Role, Watcher

_SQLITE = "sqlite:///"
# Three looks may fail to come before it is said; a download can take that long.
_STALE_POLLS = 3
_STALE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class ModelSyncStatus:
    """How the following goes."""

    location: str
    """What is followed."""
    checked_at: float | None
    """Unix time of the last look at the registry, seconds; None before the first."""
    problem: str | None
    """Why the last look found nothing new to serve, or why there is none; None when all is well."""
    warnings: tuple[str, ...]
    """Of the registry and of the live model."""
    refused: Refusal | None
    """The version that should be live and is not, and why."""
    follower_pid: int | None
    """Of the child process; None in a worker that leaves it to another."""
    follower_restarts: int
    absent: bool
    """Whether what is followed named nothing at the last look that was answered."""


class ModelSync:
    """Keeps a slot in step with what is followed; one for each followed model in each worker."""

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
    ) -> None:
        """Nothing is started and nothing written yet.

        Args:
            location: `models:/…` or a path.
            slot: to be kept in step.
            cache: folder in which models are kept; made by `start`.
            tracking_uri: MLflow's registry; a relative `sqlite:///` path is relative to the current folder.
            poll_s: seconds between two looks.
            threads: that one call of the model may use.
            max_batch: the largest number of pictures that will be run at once.
            history: told of each switch.
            setting: that `location` comes from, for messages.
            usable: whether this service can prepare a model's pictures; asked before one is put in.
            limit_s: that a model's loading, and each of its runs, may take.
            role: of the model, for the log.

        Raises:
            LocationInvalid: `location` names nothing that can be followed.
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
        )
        self._supervisor = Supervisor(self._folder, location=self._location, tracking_uri=uri, poll_s=poll_s)

    def start(self) -> None:
        """Start following; returns at once.

        Raises:
            StartRefused: the cache folder cannot be made.
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
        """What is followed and how it goes."""
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
        """State folder of what is followed, shared by all processes with the same cache."""
        return self._folder

    @property
    def absent(self) -> bool:
        """Whether what is followed named nothing at the last look; a model may be live nevertheless."""
        target = self._watcher.target
        return target is not None and target.absent

    def _problem(self) -> str | None:
        watcher = self._watcher
        silent_s = time.monotonic() - watcher.heard_s
        if silent_s > max(_STALE_POLLS * self._poll_s, _STALE_S):
            return (
                f"the follower has not reported for {silent_s:.0f} s; "
                "the registry hangs or a download is slow"
            )
        # What an earlier process left says nothing of how things stand now.
        return watcher.target.problem if watcher.target is not None and watcher.reports else None


def _refusal(refused: RefusedDownload | None) -> Refusal | None:
    if refused is None:
        return None
    return Refusal(
        version=refused.version,
        sha256=refused.sha256,
        step="download",
        reason=refused.reason,
        time=refused.time,
    )


def absolute_uri(uri: str) -> str:
    """A tracking URI that means the same from every folder."""
    if not uri.startswith(_SQLITE):
        return uri
    return f"{_SQLITE}{Path(uri.removeprefix(_SQLITE)).absolute()}"
