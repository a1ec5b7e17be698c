"""Sources of pictures: the files of a folder, a Parquet table of paths, or the objects below an S3 prefix.

A source lists its files and provides a chunk of them as local files. Sources are sent to other machines, so
that they hold no connection.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from flows.errors import SourceUnusable
from serving.score.listing import files_in

S3 = "s3://"
_COLUMN = "path"
# Objects fetched in parallel; a bucket on the same continent answers in tens of milliseconds.
_MAX_PARALLEL_FETCHES = 16


class Source(Protocol):
    """Files that can be scored."""

    @property
    def shown(self) -> str:
        """Unique name of the source, for plans and messages."""

    def names(self, *, without: Path) -> Iterator[str]:
        """List all files in a fixed order.

        Args:
            without: the result, whose own files are left out.

        Raises:
            SourceUnusable: the files cannot be listed.
        """

    def laid_out(self, names: Sequence[str], *, max_bytes: int) -> Any:
        """Context manager: a folder, and the files' paths in it; a file that cannot be read is missing there.

        Args:
            names: of the files.
            max_bytes: a longer file is cut after one more byte, so that it is still too long.

        Raises:
            SourceUnusable: the source itself cannot be read.
        """


@dataclass(frozen=True)
class Folder:
    """All files below a folder."""

    folder: Path

    @property
    def shown(self) -> str:
        """Absolute path of the folder."""
        return str(self.folder.resolve())

    def names(self, *, without: Path) -> Iterator[str]:
        """See `Source`."""
        try:
            yield from files_in(self.folder, without=without)
        except OSError as error:
            raise _unusable(self.folder, error) from error

    @contextmanager
    def laid_out(self, names: Sequence[str], *, max_bytes: int) -> Iterator[tuple[Path, Sequence[str]]]:
        """See `Source`."""
        yield self.folder, names


@dataclass(frozen=True)
class PathTable:
    """The column `path` of a Parquet file: absolute paths, or relative to the file's folder."""

    table: Path

    @property
    def shown(self) -> str:
        """Absolute path of the file."""
        return str(self.table.resolve())

    def names(self, *, without: Path) -> Iterator[str]:
        """See `Source`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.table) as file:
                if _COLUMN not in file.schema_arrow.names:
                    raise SourceUnusable(
                        source=str(self.table),
                        reason=f"got the columns {', '.join(file.schema_arrow.names)}",
                        remedy=f"name the column with the pictures' paths {_COLUMN!r}",
                    )
                for batch in file.iter_batches(columns=[_COLUMN]):
                    yield from (str(name) for name in batch.column(0).to_pylist() if name)
        except (OSError, pa.ArrowException) as error:
            raise _unusable(self.table, error) from error

    @contextmanager
    def laid_out(self, names: Sequence[str], *, max_bytes: int) -> Iterator[tuple[Path, Sequence[str]]]:
        """See `Source`."""
        yield self.table.parent, names


@dataclass(frozen=True)
class Bucket:
    """The objects below `s3://bucket/prefix`; address and credentials come from AWS_… variables."""

    address: str

    @property
    def shown(self) -> str:
        """The address without a trailing slash."""
        return self.address.rstrip("/")

    def names(self, *, without: Path) -> Iterator[str]:
        """See `Source`; keys relative to the prefix."""
        root = self.shown.removeprefix(S3)
        with _translated(self.shown):
            keys = sorted(_file_system().find(root))
        for key in keys:
            name = key.removeprefix(f"{root}/")
            # Without folders that a console has created, and without hidden files, as in `Folder`.
            if key != root and not key.endswith("/") and not any(map(_is_hidden, name.split("/"))):
                yield name

    @contextmanager
    def laid_out(self, names: Sequence[str], *, max_bytes: int) -> Iterator[tuple[Path, Sequence[str]]]:
        """See `Source`."""
        files = [f"{number:08}" for number in range(len(names))]
        with tempfile.TemporaryDirectory(prefix="mien-scoring-") as folder:
            system = _file_system()

            def fetch(name: str, file: str) -> None:
                data = _read(system, f"{self.shown.removeprefix(S3)}/{name}", max_bytes=max_bytes)
                if data is not None:
                    Path(folder, file).write_bytes(data)

            with _translated(self.shown), ThreadPoolExecutor(_MAX_PARALLEL_FETCHES) as pool:
                list(pool.map(fetch, names, files))
            yield Path(folder), files


def source_named(text: str) -> Source:
    """Create the source for a parameter.

    Raises:
        SourceUnusable: the file or folder does not exist, or the name is empty.
    """
    if not text.strip() or not text.strip().removeprefix(S3).strip("/"):
        # An empty path is the working directory, and s3:// alone would be every bucket.
        raise SourceUnusable(
            source=f"source={text!r}",
            reason="it has no folder, file or bucket",
            remedy="name a folder, a Parquet file or s3://bucket/prefix",
        )
    if text.startswith(S3):
        return Bucket(text)
    # Absolute, because processes that read chunks have other working directories.
    path = Path(text).absolute()
    if path.is_dir():
        return Folder(path)
    if path.is_file():
        return PathTable(path)
    raise SourceUnusable(
        source=text, reason="the file does not exist", remedy="name a folder, a Parquet file or s3://…"
    )


def _is_hidden(part: str) -> bool:
    return part.startswith(".")


def _file_system() -> Any:
    import s3fs

    # Without a cache of listings, which would hide new objects for as long as the process runs.
    return s3fs.S3FileSystem(use_listings_cache=False)


def _read(system: Any, key: str, *, max_bytes: int) -> bytes | None:
    """The first bytes of an object, at most `max_bytes` + 1; None if it cannot be read."""
    try:
        return bytes(system.cat_file(key, start=0, end=max_bytes + 1))
    except (FileNotFoundError, PermissionError):
        return None
    except OSError as error:
        # A range of an empty object is invalid.
        if error.errno == errno.EINVAL and system.size(key) == 0:
            return b""
        raise


@contextmanager
def _translated(source: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except (BotoCoreError, OSError) as error:
        raise SourceUnusable(
            source=source,
            reason=" ".join(str(error).split())[:300] or type(error).__name__,
            remedy="check the address, AWS_ENDPOINT_URL and the credentials",
        ) from error


def _unusable(path: Path, error: Exception) -> SourceUnusable:
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return SourceUnusable(
        source=str(path), reason=" ".join(reason.split())[:300], remedy="name a folder or a Parquet file"
    )
