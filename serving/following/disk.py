"""A file or a folder that is followed: what a person copies there is served."""

from __future__ import annotations

import shutil
from pathlib import Path

from serving.failures import NothingRegistered, RegistryUnavailable
from serving.following.location import MODEL_FILE, OnDisk
from serving.following.source import Found

LOCAL = "local"
"""Version of every model that comes from a path; its sha256 tells which it is."""


class DiskSource:
    """Follows one path."""

    def __init__(self, location: OnDisk) -> None:
        self._path = location.path

    def find(self) -> Found:
        """The file as it lies there now, told by its time and size.

        Raises:
            NothingRegistered: there is no such file.
        """
        file = self._file()
        try:
            status = file.stat()
        except OSError as error:
            raise NothingRegistered(
                f"{file}: {error.strerror}, expected an ONNX file; copy one there or correct the path"
            ) from error
        name = file.parent.name if file.name == MODEL_FILE else file.stem
        return Found(
            name=name,
            version=LOCAL,
            stamp=f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}",
            source=str(file),
        )

    def fetch(self, found: Found, folder: Path) -> None:
        """Copy the file; of a folder, everything in it that is a file.

        Raises:
            RegistryUnavailable: it cannot be read.
        """
        file = Path(found.source)
        try:
            beside = self._path.iterdir() if self._path.is_dir() else ()
            for one in beside:
                if one.is_file() and one != file:
                    shutil.copyfile(one, folder / one.name)
            shutil.copyfile(file, folder / MODEL_FILE)
        except OSError as error:
            raise RegistryUnavailable(
                f"{self._path} cannot be copied ({error}); check it and the disk"
            ) from error

    def _file(self) -> Path:
        return self._path / MODEL_FILE if self._path.is_dir() else self._path
