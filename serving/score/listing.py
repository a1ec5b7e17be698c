"""Lists the files of a folder in path order, with at most one of its folders in memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# File names hold every byte but this one and "/".
_END = b"\0"
_READ_BYTES = 1 << 20


def files_in(folder: Path, *, without: Path | None = None) -> Iterator[str]:
    """Yield the paths of all files, relative to `folder`, in the order of the whole path as text.

    Hidden files and folders are left out. Links to files are followed; links to folders are not, because they
    may form a circle.

    Args:
        folder: folder to list, to any depth.
        without: file that is left out, for example the output.

    Raises:
        OSError: a folder cannot be read.
    """
    yield from _below(folder, "", None if without is None else without.resolve())


def _below(folder: Path, prefix: str, without: Path | None) -> Iterator[str]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                # With its slash a folder has the sort position of its files: after `a-b`, before `a0`.
                found.append(entry.name + "/")
            elif entry.is_file() and (without is None or Path(entry.path).resolve() != without):
                found.append(entry.name)
    for name in sorted(found):
        if name.endswith("/"):
            yield from _below(folder / name, prefix + name, without)
        else:
            yield prefix + name


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A list of files, stored on disk when a run starts; later changes of the folder have no effect."""

    path: Path
    count: int
    sha256: str
    """SHA-256 of the list, hexadecimal."""

    @classmethod
    def write(cls, path: Path, names: Iterator[str]) -> Listing:
        """Write the names to a file."""
        digest, count = hashlib.sha256(), 0
        with path.open("wb") as file:
            for name in names:
                line = os.fsencode(name) + _END
                digest.update(line)
                file.write(line)
                count += 1
        return cls(path=path, count=count, sha256=digest.hexdigest())

    def chunks(self, size: int, *, skip: int = 0) -> Iterator[list[str]]:
        """Yield the names in chunks of `size`, without the first `skip` chunks."""
        chunk: list[str] = []
        for number, name in enumerate(self._names()):
            if number < skip * size:
                continue
            chunk.append(name)
            if len(chunk) == size:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def _names(self) -> Iterator[str]:
        rest = b""
        with self.path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                *lines, rest = (rest + block).split(_END)
                yield from map(os.fsdecode, lines)
