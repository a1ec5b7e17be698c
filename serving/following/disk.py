"""A file or a folder that is followed: what a person copies there is served.

Of a folder every file counts, so a corrected `selftest.npz` or `card.md` is fetched though the model is the
same; of a file that file alone does, and nothing beside it is looked at.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from serving.errors import NothingRegistered, RegistryUnavailable
from serving.following.location import MODEL_FILE, OnDisk
from serving.following.source import Found

LOCAL = "local"
"""Version of every model that comes from a path; its sha256 tells which it is."""


class DiskSource:
    """Follows one path."""

    def __init__(self, location: OnDisk) -> None:
        self._path = location.path

    def find(self) -> Found:
        """What lies there now, told by times and sizes.

        Raises:
            NothingRegistered: there is no such file.
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
        return Found(
            name=name,
            version=LOCAL,
            stamp=_stamp([("", status), *others]),
            source=str(file),
        )

    def fetch(self, found: Found, folder: Path) -> None:
        """Copy the file; of a folder, everything in it that is a file.

        Raises:
            RegistryUnavailable: it cannot be read.
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
        """What lies beside the model, when a folder is followed."""
        if not self._path.is_dir():
            return []
        return sorted(path for path in self._path.iterdir() if path.is_file() and path != file)

    def _file(self) -> Path:
        return self._path / MODEL_FILE if self._path.is_dir() else self._path


def _stamp(files: Iterable[tuple[str, os.stat_result]]) -> str:
    """Another one when any of the files was written, replaced, added or removed."""
    lines = [f"{name} {one.st_mtime_ns}-{one.st_size}-{one.st_ino}" for name, one in files]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
