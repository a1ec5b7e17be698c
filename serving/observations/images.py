"""Pictures that the operator asked to keep: a fraction of them, in a folder by day, for a number of days.

A picture is kept as it was sent, its metadata included, so that training sees what serving saw. Nothing is
kept by default. The name is `YYYY-MM-DD/<id>.<format>`, by the day (UTC) of the answer.
"""

from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, datetime
from pathlib import Path

from serving.contract.image_headers import read_header

_SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WebP": "webp", "BMP": "bmp"}
_DAY = "%Y-%m-%d"
_RANGE = 1 << 64


class PictureFolder:
    """A folder of kept pictures; readable by the service's own user only."""

    def __init__(self, folder: Path, *, fraction: float) -> None:
        """Keep a share of the pictures.

        Args:
            folder: is created with the first picture.
            fraction: in [0, 1]; 0 keeps none, and what is there can still be deleted.
        """
        self.folder = folder
        self._threshold = int(fraction * _RANGE)

    def keeps(self, id: str) -> bool:
        """Whether the picture of this answer is among the kept ones; the same in every process."""
        if not self._threshold:
            return False
        digest = hashlib.blake2b(id.encode(), digest_size=8, person=b"picture").digest()
        return int.from_bytes(digest, "big") < self._threshold

    def write(self, data: bytes, *, id: str, time: float) -> str:
        """Write one picture, whole or not at all; its name inside the folder.

        Args:
            data: a JPEG, PNG, WebP or BMP file.
            id: of the answer.
            time: of the answer, seconds since 1970 (UTC).

        Raises:
            ImageError: the bytes are no such file.
            OSError: the folder cannot be written, or the disk is full.
        """
        suffix = _SUFFIXES[read_header(data).format]
        name = f"{datetime.fromtimestamp(time, UTC):{_DAY}}/{id}.{suffix}"
        path = self.folder / name
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        try:
            partial.write_bytes(data)
            partial.chmod(0o600)
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        return name

    def read(self, name: str) -> bytes:
        """The picture of this name.

        Raises:
            FileNotFoundError: it was deleted, or its days are over.
        """
        return (self.folder / name).read_bytes()

    def exists(self, name: str) -> bool:
        """Whether the picture of this name is still there."""
        return (self.folder / name).is_file()

    def delete(self, name: str | None) -> None:
        """Delete a picture; nothing happens when there is none."""
        if name is not None:
            (self.folder / name).unlink(missing_ok=True)

    def purge(self, before: float) -> int:
        """Delete the days that ended before this time (seconds since 1970, UTC); how many days."""
        first_kept = f"{datetime.fromtimestamp(before, UTC):{_DAY}}"
        days = [path for path in self.folder.glob("????-??-??") if path.is_dir() and path.name < first_kept]
        for day in days:
            shutil.rmtree(day)
        return len(days)
