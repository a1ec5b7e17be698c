"""The MLflow model registry: find, add, annotate, promote, download versions.

    python -m pipelines.tracking.registry        what is registered, with aliases and verdicts

One ONNX file is one version, identified by the sha256 of its bytes, which every version has as a tag.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipelines.core.cli import run_stage
from pipelines.core.errors import RegistryError
from pipelines.core.io import sha256_of
from pipelines.core.params import load_params
from pipelines.tracking import runs as tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

T = TypeVar("T")

CANDIDATE = "candidate"
"""Alias of the newest version that passed the quality gate."""
PRODUCTION = "production"
"""Alias of the version that is served; a person sets it, the gate only when there is none."""
PROMOTED_BY, PROMOTED_AT = "promoted_by", "promoted_at"
"""Tags: user who set the alias `production` by command, and when (ISO 8601, UTC); a click sets neither."""
SHA256 = "sha256"
"""Tag: SHA-256 of the version's ONNX file."""
MODEL_FILE = "model.onnx"
"""Name of the ONNX file in a version's folder, MLflow's own."""

_DESCRIPTION = (
    f"Facial expression classifiers. `{PRODUCTION}` is what the service follows: move the alias to promote "
    f"or to roll back. `{CANDIDATE}` is the newest version that passed the quality gate; its page shows why."
)


@dataclass(frozen=True, kw_only=True)
class Version:
    """One registered model."""

    number: int
    model_id: str | None
    """MLflow's id of the logged model that holds the files."""
    run_id: str | None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def sha256(self) -> str | None:
        """Of the ONNX file; None on a version that somebody registered by other means."""
        return self.tags.get(SHA256)

    @property
    def identity(self) -> str:
        """Its sha256 or, where that is unknown, its number."""
        return self.sha256 or f"version-{self.number}"


class Registry:
    """The versions of one registered model."""

    def __init__(self, name: str, *, uri: str) -> None:
        """Use what `tracking.connect` returned as `uri`."""
        self.name = name
        self.uri = uri

    def versions(self) -> list[Version]:
        """All versions, the newest first."""
        found = self._call(self._search)
        return sorted(found, key=lambda version: -version.number)

    def find(self, sha256: str) -> Version | None:
        """The version of one ONNX file; the oldest, should there ever be two."""
        found = [version for version in self.versions() if version.sha256 == sha256]
        return found[-1] if found else None

    def aliased(self, alias: str) -> Version | None:
        """The version behind an alias, None when there is no such alias."""
        return next((version for version in self.versions() if alias in version.aliases), None)

    def get(self, number: int) -> Version:
        """One version by its number.

        Raises:
            RegistryError: there is none.
        """
        versions = self.versions()
        for version in versions:
            if version.number == number:
                return version
        known = ", ".join(str(version.number) for version in reversed(versions)) or "none"
        raise RegistryError(
            uri=self.uri,
            reason=f"{self.name} has no version {number}",
            remedy=f"choose one of these: {known}; `make run` registers others",
        )

    def add(
        self, *, model_id: str, run_id: str, tags: Mapping[str, str], description: str
    ) -> tuple[Version, bool]:
        """Register a logged model, unless its file is registered already.

        Two processes may get here at once: the one that finds an older version of the same file
        afterwards takes its own back.

        Args:
            model_id: of the logged model.
            run_id: of the run it comes from.
            tags: of the version; must hold `SHA256`.
            description: Markdown.

        Returns:
            The version that stands, and whether it is new.
        """
        self._call(self._ensure_model)
        created = self._call(
            lambda: _client().create_model_version(
                self.name,
                source=f"models:/{model_id}",
                run_id=run_id,
                tags=dict(tags),
                description=description,
                model_id=model_id,
            )
        )
        standing = self.find(tags[SHA256])
        if standing is None or standing.number == int(created.version):
            return self.get(int(created.version)), True
        self._call(lambda: _client().delete_model_version(self.name, str(created.version)))
        return standing, False

    def stored_file(self, version: Version) -> Path | None:
        """Where a version's ONNX file lies on this machine; None where it is stored elsewhere."""
        model_id = version.model_id
        if model_id is None:
            return None
        location = self._call(lambda: _client().get_logged_model(model_id).artifact_location)
        if not location.startswith("file:"):
            return None
        return Path(url2pathname(urlsplit(location).path)) / MODEL_FILE

    def intact(self, version: Version) -> bool:
        """Whether the version's file is still stored, checked without downloading it."""
        path = self.stored_file(version)
        return path is None or path.is_file()

    def annotate(self, version: Version, *, tags: Mapping[str, str], description: str) -> None:
        """Replace a version's description and set tags, leaving others."""

        def write() -> None:
            client = _client()
            for key, value in tags.items():
                client.set_model_version_tag(self.name, str(version.number), key, value)
            client.update_model_version(self.name, str(version.number), description)

        self._call(write)

    def drop_tags(self, version: Version, names: set[str]) -> None:
        """Remove tags of a version."""

        def remove() -> None:
            for name in sorted(names & set(version.tags)):
                _client().delete_model_version_tag(self.name, str(version.number), name)

        self._call(remove)

    def set_alias(self, alias: str, version: Version) -> None:
        """Point an alias at a version, away from where it pointed before."""
        self._call(lambda: _client().set_registered_model_alias(self.name, alias, str(version.number)))

    def promote(self, version: Version, *, by: str) -> None:
        """Point the alias `production` at a version and write who did so onto the version."""

        def write() -> None:
            client, number = _client(), str(version.number)
            # Before the alias: a reader that sees the alias move finds the tags.
            client.set_model_version_tag(self.name, number, PROMOTED_BY, by)
            client.set_model_version_tag(self.name, number, PROMOTED_AT, datetime.now(UTC).isoformat())
            client.set_registered_model_alias(self.name, PRODUCTION, number)

        self._call(write)

    def drop_alias(self, alias: str) -> None:
        """Remove an alias."""
        self._call(lambda: _client().delete_registered_model_alias(self.name, alias))

    @contextmanager
    def downloaded(self, version: Version) -> Iterator[Path]:
        """A version's folder on this machine, for as long as the block runs.

        Raises:
            RegistryError: the files cannot be fetched, or are not those that were registered.
        """
        with tempfile.TemporaryDirectory(prefix="mien-model-") as folder:
            path = self._call(lambda: self._download(version, folder))
            if version.sha256 is not None and sha256_of(path / MODEL_FILE) != version.sha256:
                raise RegistryError(
                    uri=self.uri,
                    reason=f"the file of {self.name} version {version.number} is not the one registered "
                    f"(sha256 {version.sha256[:12]}…)",
                    remedy="the stored artifact was changed; delete that version and run `dvc repro`",
                )
            yield path

    def _call(self, operation: Callable[[], T]) -> T:
        return tracking.retrying(self.uri, operation)

    def _search(self) -> list[Version]:
        from mlflow.exceptions import MlflowException

        client = _client()
        try:
            aliases = client.get_registered_model(self.name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return []
            raise
        found: list[ModelVersion] = []
        token: str | None = None
        while page := client.search_model_versions(f"name='{self.name}'", page_token=token):
            found += page
            token = page.token
            if not token:
                break
        return [_version(one, aliases) for one in found]

    def _ensure_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            _client().create_registered_model(self.name, description=_DESCRIPTION)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _download(self, version: Version, folder: str) -> Path:
        import mlflow.artifacts

        source = f"models:/{self.name}/{version.number}"
        path = Path(mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=folder))
        if not (path / MODEL_FILE).is_file():
            raise FileNotFoundError(f"{source} holds no {MODEL_FILE}")
        return path


def look(name: str, *, uri: str | None = None) -> Registry | None:
    """Open the registry for reading; None if there is no store yet, which is not created.

    Args:
        name: of the registered model.
        uri: of MLflow; None is where it lies here.

    Raises:
        RegistryError: it cannot be reached or read.
    """
    found = tracking.connect_to_read(uri)
    return None if found is None else Registry(name, uri=found)


def _client() -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient()


def _logged_model(source: str | None) -> str | None:
    prefix = "models:/m-"
    return source.removeprefix("models:/") if source and source.startswith(prefix) else None


def _version(found: ModelVersion, aliases: Mapping[str, str]) -> Version:
    number = int(found.version)
    return Version(
        number=number,
        # The store leaves `model_id` empty; `source` contains the model's URI.
        model_id=found.model_id or _logged_model(found.source),
        run_id=found.run_id or None,
        description=found.description or "",
        tags=dict(found.tags),
        aliases=tuple(sorted(alias for alias, to in aliases.items() if int(to) == number)),
    )


def describe(versions: list[Version], *, name: str) -> str:
    """The versions as a small table for a terminal."""
    if not versions:
        return f"{name}: nothing is registered"
    lines = [f"{'version':<9}{'architecture':<17}{'gate':<8}{'aliases':<24}{'sha256':<14}commit"]
    for version in versions:
        tags = version.tags
        commit = tags.get("git_commit", "?")[:10] + ("+changes" if tags.get("dirty") == "true" else "")
        lines.append(
            f"{version.number:<9}{tags.get('architecture', '?'):<17}{tags.get('gate', '?'):<8}"
            f"{', '.join(version.aliases) or '–':<24}{(version.sha256 or '?')[:12]:<14}{commit}"
        )
    return "\n".join(lines)


def main() -> None:
    """Print what is registered."""
    name = load_params().register_.model
    print(describe(Registry(name, uri=tracking.connect()).versions(), name=name))


if __name__ == "__main__":
    run_stage(main)
