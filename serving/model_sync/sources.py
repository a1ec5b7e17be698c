"""Sources of models for the poller: a path on disk, or an MLflow registry.

`DiskSource` serves what is copied to a file or a folder. In a folder every file counts, so a corrected
`selftest.npz` or `card.md` is fetched although the model is the same; for a file only that file counts.

`RegistrySource` serves a registered model. It imports MLflow when it is called; no other module here does.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from serving.errors.operation import NothingRegistered, RegistryUnavailable
from serving.model_sync.location import MODEL_FILE, OnDisk, Registered
from serving.model_sync.registry_changes import check_registry_file
from serving.signatures import SIGNED_BY
from serving.urls import SecretUrl, mask_urls

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What the command that promotes wrote onto a version."""

    by: str
    """User."""
    at: float
    """Unix time, seconds, by the clock of the machine that ran the command."""


@dataclass(frozen=True, kw_only=True)
class FoundVersion:
    """The version that the source names now."""

    name: str
    version: str
    stamp: str
    """Changes whenever the files may have changed, even when name and version are the same."""
    source: str
    """URI or path of its files."""
    sha256: str | None = None
    """Digest of the ONNX file as registered; None when the registry has none."""
    run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    promotion: Promotion | None = None
    """The last one by command; None for other locations than the alias `production`."""
    warnings: tuple[str, ...] = ()
    """Warnings for the operator."""


class Source(Protocol):
    """Where a model comes from."""

    def find(self) -> FoundVersion:
        """Return the version to serve now.

        Raises:
            NothingRegistered: the source answers but has no such version.
            RegistryUnavailable: the source does not answer, or its answer cannot be used.
        """

    def fetch(self, found: FoundVersion, folder: Path) -> None:
        """Copy the version's files into an empty folder, the ONNX file as `model.onnx`.

        Raises:
            RegistryUnavailable: the files cannot be fetched.
        """


LOCAL = "local"
"""Version of every model that comes from a path; its sha256 identifies it."""


class DiskSource:
    """A file or a folder as the source of a model."""

    def __init__(self, location: OnDisk) -> None:
        self._path = location.path

    def find(self) -> FoundVersion:
        """Return the model at the path; its stamp is made of the files' times and sizes.

        Raises:
            NothingRegistered: the file does not exist.
        """
        file = self._file()
        try:
            status = file.stat()
            others = [(other.name, other.stat()) for other in self._others(file)]
        except OSError as error:
            raise NothingRegistered(
                f"{file}: {error.strerror}, expected an ONNX file; copy one there or correct the path"
            ) from error
        name = file.parent.name if file.name == MODEL_FILE else file.stem
        return FoundVersion(
            name=name,
            version=LOCAL,
            stamp=_stamp([("", status), *others]),
            source=str(file),
        )

    def fetch(self, found: FoundVersion, folder: Path) -> None:
        """Copy the file, or all files of the folder.

        Raises:
            RegistryUnavailable: a file cannot be read.
        """
        file = Path(found.source)
        try:
            for other in self._others(file):
                shutil.copyfile(other, folder / other.name)
            shutil.copyfile(file, folder / MODEL_FILE)
        except OSError as error:
            raise RegistryUnavailable(
                f"{self._path} cannot be copied ({error}); check it and the disk"
            ) from error

    def _others(self, file: Path) -> list[Path]:
        """Return the other files of the model's folder; empty when the path is a file."""
        if not self._path.is_dir():
            return []
        return sorted(path for path in self._path.iterdir() if path.is_file() and path != file)

    def _file(self) -> Path:
        return self._path / MODEL_FILE if self._path.is_dir() else self._path


def _stamp(files: Iterable[tuple[str, os.stat_result]]) -> str:
    """Return a stamp that changes when a file is written, replaced, added or removed."""
    lines = [f"{name} {one.st_mtime_ns}-{one.st_size}-{one.st_ino}" for name, one in files]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


T = TypeVar("T")

SHA256 = "sha256"
"""Tag of a version: SHA-256 of its ONNX file, set when it was registered."""

PROMOTED_BY, PROMOTED_AT = "promoted_by", "promoted_at"
"""Tags of a version: who promoted it by command, and when (ISO 8601)."""
_PRODUCTION = "production"

_DIGEST = re.compile(r"[0-9a-f]{64}")
# MLflow's defaults, 7 retries with doubling pauses and 120 s each, would block the poller for many minutes;
# the poller retries by itself.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # A server that proxies files from S3 would redirect clients to the store, which they may not be able to
    # reach (mlflow/store/artifact/mlflow_artifacts_repo.py).
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
}


class RegistrySource:
    """An alias, a stage or a version in an MLflow registry as the source of a model."""

    def __init__(self, location: Registered, *, tracking_uri: str) -> None:
        self._location = location
        self._uri = SecretUrl(tracking_uri)
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)

    def find(self) -> FoundVersion:
        """Return the version that the alias, the stage or the number names.

        Raises:
            NothingRegistered: the registry has no such version.
            RegistryUnavailable: the registry does not answer, or its answer cannot be used.
        """
        return self._translated(self._find)

    def fetch(self, found: FoundVersion, folder: Path) -> None:
        """Download the version's folder.

        Raises:
            RegistryUnavailable: the files cannot be fetched.
        """
        self._translated(lambda: self._fetch(found, folder))

    def _translated(self, call: Callable[[], T]) -> T:
        """Call the registry and turn every error into a `RegistryUnavailable` with one line of text."""
        try:
            check_registry_file(self._uri)
            return call()
        except RegistryUnavailable:
            raise
        except Exception as error:  # a broken answer may raise anything, deep inside MLflow
            # Masked before it is shortened: a URL that was cut would not be recognised.
            reason = mask_urls(" ".join(str(error).split()))[:300] or type(error).__name__
            raise RegistryUnavailable(f"the registry {self._uri} cannot be used: {reason}") from error

    def _find(self) -> FoundVersion:
        where = self._location
        aliases, versions = self._registered()
        version = _chosen(where, aliases, versions)
        sha256 = version.tags.get(SHA256, "").lower()
        return FoundVersion(
            name=where.name,
            version=str(version.version),
            # A version number can be reused after its version was deleted, with other files, and signing a
            # version adds a file.
            stamp=f"{version.version} {version.tags.get(SHA256)} {version.source}{_signer(version.tags)}",
            source=f"models:/{where.name}/{version.version}",
            sha256=sha256 if _DIGEST.fullmatch(sha256) else None,
            run_id=version.run_id or None,
            tags=dict(version.tags),
            promotion=_promotion(where, version.tags),
            warnings=_disagreement(where, aliases, versions),
        )

    def _registered(self) -> tuple[dict[str, int], list[ModelVersion]]:
        """Return the aliases (lower case) and the versions of the model."""
        from mlflow.exceptions import MlflowException

        name = self._location.name
        client = self._client()
        try:
            aliases = client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise NothingRegistered(
                f"no model {name!r} is registered in {self._uri}; `make run` registers one"
            ) from error
        versions: list[ModelVersion] = []
        token: str | None = None
        while page := client.search_model_versions(f"name='{name}'", page_token=token):
            versions += page
            token = page.token
            if not token:
                break
        return {alias.lower(): int(number) for alias, number in aliases.items()}, versions

    def _fetch(self, found: FoundVersion, folder: Path) -> None:
        import mlflow
        import mlflow.artifacts

        mlflow.set_tracking_uri(self._uri.reveal())
        got = Path(mlflow.artifacts.download_artifacts(artifact_uri=found.source, dst_path=str(folder)))
        if not (got / MODEL_FILE).is_file():
            raise FileNotFoundError(f"{found.source} has no {MODEL_FILE}")
        if got != folder:
            for path in got.iterdir():
                path.rename(folder / path.name)

    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self._uri.reveal())


def _chosen(where: Registered, aliases: Mapping[str, int], versions: list[ModelVersion]) -> ModelVersion:
    number: int | None
    if where.by == "alias":
        number = aliases.get(where.value.lower())
    elif where.by == "stage":
        number = _in_stage(versions, where.value)
    elif where.by == "latest":
        number = max((int(version.version) for version in versions), default=None)
    else:
        number = int(where.value)
    for version in versions:
        if int(version.version) == number:
            return version
    what = {"alias": f"alias {where.value!r}", "stage": f"version in stage {where.value}"}.get(
        where.by, f"version {where.value}"
    )
    known = ", ".join(sorted((str(version.version) for version in versions), key=int)) or "none"
    raise NothingRegistered(
        f"{where.name} has no {what} (versions: {known}); promote a version in MLflow: {where} must name it"
    )


def _signer(tags: Mapping[str, str]) -> str:
    """End of a version's stamp; empty for one that is not signed, so that earlier state files stay valid."""
    return f" {tags[SIGNED_BY]}" if SIGNED_BY in tags else ""


def _promotion(where: Registered, tags: Mapping[str, str]) -> Promotion | None:
    if where.by != "alias" or where.value.lower() != _PRODUCTION:
        return None
    try:
        at = datetime.fromisoformat(tags[PROMOTED_AT])
        return Promotion(by=tags[PROMOTED_BY], at=at.timestamp())
    except (KeyError, ValueError):
        return None  # promoted in MLflow's UI, or somebody edited the tags


def _in_stage(versions: list[ModelVersion], stage: str) -> int | None:
    return max((int(one.version) for one in versions if one.current_stage == stage), default=None)


def _disagreement(
    where: Registered, aliases: Mapping[str, int], versions: list[ModelVersion]
) -> tuple[str, ...]:
    """Warn when alias `production` and stage `Production` name two versions: only one of them is served."""
    if where.by not in ("alias", "stage"):
        return ()
    stage = where.value.capitalize()
    by_alias, by_stage = aliases.get(where.value.lower()), _in_stage(versions, stage)
    if by_alias is None or by_stage is None or by_alias == by_stage:
        return ()
    return (
        f"the alias {where.value.lower()} names version {by_alias}, the stage {stage} version {by_stage}: "
        f"the {where.by} is followed, as configured",
    )
