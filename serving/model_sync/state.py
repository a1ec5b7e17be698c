"""The state file between the follower and the workers, and the good model to start from.

<cache>/<location>/
    target.json        what the follower found last: written by it, whole or not at all
    good.json          the model that was put in last: written by the workers
    follower.lock      held by the worker whose child follows
    models/<version>-<sha256>/   files as fetched, and lineage.json

The two files are told apart because the newest model need not be a good one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from serving.inference.model_slot import ModelIdentity
from serving.urls import SecretUrl

TARGET = "target.json"
GOOD = "good.json"
POLLER_LOCK = "follower.lock"
MODELS = "models"
_GOOD_LOCK = "good.lock"


@dataclass(frozen=True, kw_only=True)
class RefusedDownload:
    """A version whose files are not what was registered."""

    version: str
    sha256: str
    """As registered; empty when the registry does not say."""
    reason: str
    time: float
    """Unix time, seconds."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the follower knows."""

    checked_at: float
    """Unix time of the last look, seconds, whether it succeeded or not."""
    version: str | None = None
    """Of the model to serve; None while none was ever found."""
    sha256: str | None = None
    folder: str | None = None
    """Of its files, relative to the state folder."""
    stamp: str | None = None
    """By which its source tells it from another; see `source.Found`."""
    contents: str | None = None
    """Digest of all its files: what lies beside a model may change though the model does not."""
    since: float | None = None
    """Unix time since when these are the files to serve, seconds."""
    problem: str | None = None
    """Why the last look found nothing new to serve; None when all is well."""
    warnings: tuple[str, ...] = ()
    refused: RefusedDownload | None = None
    absent: bool = False
    """Whether what is followed named nothing at the last look that was answered."""

    @property
    def key(self) -> tuple[str, str] | None:
        """(version, sha256), None while there is no model."""
        return None if self.version is None or self.sha256 is None else (self.version, self.sha256)


def state_folder(cache: Path, location: str, tracking_uri: str) -> Path:
    """Folder of one location in the cache: two services that follow different models do not meet."""
    # Without its secrets: a new password names the same registry.
    digest = hashlib.sha256(f"{location}\n{SecretUrl(tracking_uri)}".encode()).hexdigest()[:12]
    name = re.sub(r"[^\w@.-]+", "-", location.removeprefix("models:/")).strip("-")[-60:]
    return cache / f"{name}-{digest}"


def write_target(folder: Path, target: Target) -> None:
    """Put the state file in its place."""
    replace_json(folder / TARGET, asdict(target))


def read_target(folder: Path) -> Target | None:
    """The state file; None when there is none that can be read."""
    values = read_json(folder / TARGET)
    if values is None:
        return None
    try:
        known = {field.name: values[field.name] for field in fields(Target) if field.name in values}
        known["warnings"] = tuple(known.get("warnings", ()))
        refused = known.get("refused")
        known["refused"] = None if refused is None else RefusedDownload(**refused)
        return Target(**known)
    except TypeError:
        return None


def target_stamp(folder: Path) -> tuple[int, int]:
    """Changes whenever the state file is replaced; (0, 0) when there is none."""
    try:
        status = (folder / TARGET).stat()
    except OSError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns


def read_good(folder: Path) -> tuple[Path, ModelIdentity] | None:
    """Folder and identity of the model that was put in last; None when that is not known."""
    values = read_json(folder / GOOD)
    try:
        return (
            None
            if values is None
            else (folder / str(values["folder"]), ModelIdentity.from_dict(values["identity"]))
        )
    except (KeyError, ValueError, AttributeError, TypeError):
        return None


def write_good(folder: Path, model: Path, identity: ModelIdentity) -> ModelIdentity | None:
    """Note that a model was put in; of several workers that put in the same one, one is told so.

    Returns:
        What was noted before; `identity` itself when another worker noted it already.
    """
    with locked(folder / _GOOD_LOCK):
        noted = read_good(folder)
        previous = noted[1] if noted else None
        if previous != identity:
            relative = model.relative_to(folder).as_posix()
            replace_json(folder / GOOD, {"folder": relative, "identity": identity.to_dict()})
        return previous


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; it is let go when the process ends, however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def replace_json(path: Path, values: Mapping[str, Any]) -> None:
    """Put a file in its place, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=2, sort_keys=True)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None when there is none that can be read."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None
