"""State files of one model location: the poller's last result, and the last good model.

<cache>/<location>/
    target.json        what the poller found last: written by the poller, atomically
    good.json          the model that was switched to last: written by the workers
    follower.lock      held by the worker that runs the poller
    models/<version>-<sha256>/   files as fetched, and lineage.json

There are two files because the newest model may be refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter

from serving.inference.model_slot import ModelIdentity
from serving.urls import SecretUrl

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

TARGET = "target.json"
GOOD = "good.json"
POLLER_LOCK = "follower.lock"
MODELS = "models"
_GOOD_LOCK = "good.lock"


@dataclass(frozen=True, kw_only=True)
class RefusedDownload:
    """A version whose files differ from those registered, or are not as a trusted key signed them."""

    version: str
    sha256: str
    """Digest as registered; empty when the registry has none."""
    reason: str
    time: float
    """Unix time, seconds."""
    step: str = "download"
    """`download` or `signature`."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Result of the last poll."""

    checked_at: float
    """Unix time of the last poll, seconds, whether it succeeded or not."""
    version: str | None = None
    """Version of the model to serve; None until one is found."""
    sha256: str | None = None
    folder: str | None = None
    """Folder of its files, relative to the state folder."""
    stamp: str | None = None
    """The source's stamp of the version; see `sources.FoundVersion`."""
    contents: str | None = None
    """Digest of all its files: the other files may change although the model does not."""
    since: float | None = None
    """Unix time since when these are the files to serve, seconds."""
    promoted_by: str | None = None
    """User who promoted this version; None where it was not promoted by command."""
    problem: str | None = None
    """Why the last poll found no new version; None without a problem."""
    warnings: tuple[str, ...] = ()
    refused: RefusedDownload | None = None
    absent: bool = False
    """Whether the location named no model at the last poll that the source answered."""

    @property
    def key(self) -> tuple[str, str] | None:
        """(version, sha256), None while there is no model."""
        return None if self.version is None or self.sha256 is None else (self.version, self.sha256)


def state_folder(cache: Path, location: str, tracking_uri: str) -> Path:
    """Return the folder of one location in the cache; each pair of location and registry has its own."""
    # Without its secrets: the folder stays the same when the password changes.
    digest = hashlib.sha256(f"{location}\n{SecretUrl(tracking_uri)}".encode()).hexdigest()[:12]
    name = re.sub(r"[^\w@.-]+", "-", location.removeprefix("models:/")).strip("-")[-60:]
    return cache / f"{name}-{digest}"


def write_target(folder: Path, target: Target) -> None:
    """Replace the state file."""
    write_record(folder / TARGET, target)


def read_target(folder: Path) -> Target | None:
    """Read the state file; None when no readable file exists."""
    return read_record(folder / TARGET, Target)


def target_stamp(folder: Path) -> tuple[int, int]:
    """Return a stamp that changes whenever the state file is replaced; (0, 0) without a file."""
    try:
        status = (folder / TARGET).stat()
    except OSError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns


@dataclass(frozen=True, kw_only=True)
class GoodModel:
    """The model that was switched to last."""

    folder: str
    """Folder of its files, relative to the state folder."""
    identity: ModelIdentity


def read_good(folder: Path) -> tuple[Path, ModelIdentity] | None:
    """Return folder and identity of the model that was switched to last; None when unknown."""
    good = read_record(folder / GOOD, GoodModel)
    return None if good is None else (folder / good.folder, good.identity)


def write_good(folder: Path, model: Path, identity: ModelIdentity) -> ModelIdentity | None:
    """Record that a model was switched to.

    Returns:
        The model recorded before; `identity` itself when another worker has recorded this switch already.
    """
    with locked(folder / _GOOD_LOCK):
        noted = read_good(folder)
        previous = noted[1] if noted else None
        if previous != identity:
            relative = model.relative_to(folder).as_posix()
            write_record(folder / GOOD, GoodModel(folder=relative, identity=identity))
        return previous


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; the kernel releases it when the process ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_record(path: Path, record: DataclassInstance) -> None:
    """Write a dataclass as a JSON file, atomically.

    Raises:
        OSError: the file cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(record), file, indent=2, sort_keys=True)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


R = TypeVar("R")


def read_record(path: Path, kind: type[R]) -> R | None:
    """Read what `write_record` wrote, passing over keys of a later release; None without a readable file."""
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
