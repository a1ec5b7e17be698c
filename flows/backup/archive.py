"""The file of a backup: an uncompressed tar whose first member, `manifest.json`, lists all others.

    manifest.json, mlflow.db, observations.db, pictures/2026-11-30/….jpg, artifacts/…, cache/files/md5/…

`opened` refuses a file whose members are not exactly those that its manifest lists, or whose names lead out
of the folder that they are extracted to; `Archive.verify` and `Archive.extract` compare SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import cast

from pydantic import TypeAdapter, ValidationError

from flows.errors import BackupError
from pipelines.core.io import sha256_of

FORMAT = 1
"""Raised when an older `mien restore` could not read the file."""
_MANIFEST = "manifest.json"
_REMEDY = "nothing was written; take another backup, or copy this one again from where it was stored"


@dataclass(frozen=True, kw_only=True)
class SavedFile:
    """A member of the archive."""

    name: str
    """Name of a place (`flows.backup.places`), for folders with the path inside; the separator is `/`."""
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an archive holds."""

    format: int
    commit: str
    """Git commit of the checkout; `unknown` outside of a git repository."""
    time: str
    """When the backup began, ISO 8601 in UTC."""
    counts: Mapping[str, int]
    """Number of runs, versions, observations, pictures and so on."""
    left_out: Sequence[str]
    """What is not in the archive and what to do about it, one sentence each."""
    files: Sequence[SavedFile]
    """In the order of the archive."""


_READER = TypeAdapter(Manifest)


def write(path: Path, manifest: Manifest, sources: Sequence[Path]) -> None:
    """Write an archive that only its owner can read, and wait until it is on the disk.

    Args:
        path: of the file; an existing one is overwritten.
        manifest: sizes and hashes of the sources.
        sources: a file for each of the manifest's.

    Raises:
        OSError: the disk is full, or a source is gone or shorter than the manifest says.
    """
    text = json.dumps(asdict(manifest)).encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:") as tar:
            head = tarfile.TarInfo(_MANIFEST)
            head.size = len(text)
            tar.addfile(head, io.BytesIO(text))
            for saved, source in zip(manifest.files, sources, strict=True):
                with source.open("rb") as stream:
                    status, member = os.fstat(stream.fileno()), tarfile.TarInfo(saved.name)
                    member.size, member.mode, member.mtime = saved.size, status.st_mode, int(status.st_mtime)
                    tar.addfile(member, stream)
        file.flush()
        os.fsync(file.fileno())


@dataclass(frozen=True, kw_only=True)
class Archive:
    """An opened archive whose headers are those of its manifest."""

    path: Path
    manifest: Manifest
    tar: tarfile.TarFile
    members: Mapping[str, tarfile.TarInfo]
    """By name."""

    def verify(self) -> None:
        """Read the contents of all members and compare them with the manifest.

        Raises:
            BackupError: one differs.
        """
        for saved in self.manifest.files:
            stream = self.tar.extractfile(self.members[saved.name])
            # typeshed says `IO[bytes]`, which has no `readinto`; it is a BufferedReader.
            digest = hashlib.file_digest(cast(io.BufferedReader, stream), "sha256") if stream else None
            if digest is None or digest.hexdigest() != saved.sha256:
                raise self._damaged(saved)

    def extract(self, files: Iterable[SavedFile], folder: Path) -> None:
        """Extract files into a folder, with their permissions, and compare what was written.

        Raises:
            BackupError: a file differs.
            OSError: the disk is full, or the folder cannot be written.
        """
        for saved in files:
            member, path = self.members[saved.name], folder / saved.name
            self.tar.extract(member, folder, filter="data")
            if sha256_of(path) != saved.sha256:
                raise self._damaged(saved)
            path.chmod(member.mode & 0o777)

    def _damaged(self, saved: SavedFile) -> BackupError:
        return BackupError(what=self.path, reason=f"{saved.name} in it is damaged", remedy=_REMEDY)


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open an archive and check its headers.

    Raises:
        BackupError: it is not an archive of this format, is truncated, or holds something else than its
            manifest lists.
        OSError: the file cannot be read.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            first = tar.next()
            stream = tar.extractfile(first) if first and first.name == _MANIFEST else None
            manifest = _READER.validate_json(stream.read() if stream else b"")
            members = tar.getmembers()[1:]
            reason = _contradiction(manifest, members)
            if reason:
                raise BackupError(what=path, reason=reason, remedy=_REMEDY)
            yield Archive(
                path=path, manifest=manifest, tar=tar, members={member.name: member for member in members}
            )
    except (tarfile.TarError, ValidationError) as error:
        reason = "it is damaged, truncated or not a file of `mien backup`"
        raise BackupError(what=path, reason=reason, remedy=_REMEDY) from error


def _contradiction(manifest: Manifest, members: Sequence[tarfile.TarInfo]) -> str | None:
    """What is wrong with the members of an archive; None if they are those of its manifest."""
    if manifest.format != FORMAT:
        return f"it is of format {manifest.format}, this version of mien reads {FORMAT}"
    listed = [(saved.name, saved.size, True) for saved in manifest.files]
    if [(member.name, member.size, member.isreg()) for member in members] != listed:
        return f"it does not hold exactly the {len(listed)} files that its manifest lists"
    names = [saved.name for saved in manifest.files]
    unsafe = next((name for name in names if not _is_inside(name)), None)
    if unsafe is not None:
        return f"it holds {unsafe!r}, which does not stay inside a folder"
    return None if len(set(names)) == len(names) else "it holds a file twice"


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and str(path) == name and "\0" not in name
