"""Shards of a result: a run that was killed at any moment continues where it stopped.

    predictions.parquet          written atomically at the end
    predictions.parquet.parts/   exists until then
        files       the list of files to score, fixed at the start
        plan.json   the model and the options; a run with others is refused
        00000000.parquet, …      one for each finished chunk, each written atomically

The result file holds the plan too, so that a second run with the same plan has nothing left to do.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.errors.operation import OutputTaken, ScoringBegunOtherwise, ScoringRefused
from serving.score.listing import Listing

PLAN_KEY = b"mien.scoring"
"""Key in the Parquet file's metadata for the plan: the model and the options that made it."""

_PLAN, _FILES, _LOCK, _WHOLE = "plan.json", "files", "lock", "whole"
# A usual size for readers of Parquet; with a thousand rows the overhead of a group would exceed the data.
_ROW_GROUP = 1 << 16
_COUNTED = ["error"]


@dataclass(frozen=True, kw_only=True)
class ScoringProgress:
    """Progress of a run."""

    files: int
    """Number of files to score; of a video, of frames by its header."""
    done: int
    """Number of files that have a row; of a video, of scored frames."""
    failed: int
    """Number of rows with a problem instead of an answer; of a video always 0."""


class Shards:
    """The shards of one result."""

    def __init__(self, out: Path, plan: Mapping[str, Any]) -> None:
        """Create the object; files are not touched yet.

        Args:
            out: path of the result.
            plan: everything that determines the rows, as JSON values.
        """
        self.out = out
        self.plan = dict(plan)
        self.folder = out.with_name(f"{out.name}.parts")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of the run's folder; the kernel releases it when the process ends.

        Raises:
            ScoringRefused: another run holds it.
            OSError: the folder cannot be created.
        """
        self.folder.mkdir(exist_ok=True)
        with (self.folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ScoringRefused(
                    f"{self.out} is being written by another run; wait for it or end it"
                ) from error
            try:
                yield
            finally:
                # Without a plan there is nothing that a later run could continue.
                if not (self.folder / _PLAN).exists():
                    self.remove()

    def is_finished(self) -> bool:
        """Whether an earlier run with the same plan has written the result.

        Raises:
            OutputTaken: the file exists and holds something else.
        """
        if not self.out.exists():
            return False
        try:
            stored = (pq.read_schema(self.out).metadata or {}).get(PLAN_KEY)
            if stored is not None and json.loads(stored) == self.plan:
                return True
        except (pa.ArrowException, ValueError) as error:
            raise OutputTaken(path=self.out) from error
        raise OutputTaken(path=self.out)

    def finished(self) -> ScoringProgress | None:
        """Return the counts of a result that is complete already; None when there is none.

        Raises:
            OutputTaken: the file exists and holds something else.
        """
        if not self.is_finished():
            return None
        table = pq.read_table(self.out, columns=_COUNTED)
        return ScoringProgress(files=len(table), done=len(table), failed=failed_rows(table))

    def begin(self, names: Callable[[], Iterator[str]], *, shown: object) -> Listing:
        """List the files to score, or read the list of an earlier run with the same plan.

        Args:
            names: returns the names of the files to score.
            shown: where the files are, for messages.

        Raises:
            ScoringRefused: there are no files, or the existing shards are damaged.
            ScoringBegunOtherwise: the existing shards belong to another plan.
        """
        begun = self._begun()
        if begun is None:
            return self._list(names(), shown=shown)
        return Listing(path=self.folder / _FILES, count=begun["files"], sha256=begun["sha256"])

    def begin_without_list(self) -> None:
        """Write the plan, or check that an earlier run had the same one; for what is not a list of files.

        Raises:
            ScoringRefused: the existing shards are damaged.
            ScoringBegunOtherwise: the existing shards belong to another plan.
        """
        if self._begun() is None:
            self._write_plan()

    def _begun(self) -> Mapping[str, Any] | None:
        """What an earlier run with the same plan has stored."""
        try:
            begun = json.loads((self.folder / _PLAN).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ScoringRefused(
                f"{self.folder / _PLAN} is damaged; remove {self.folder} to start again"
            ) from error
        self._check_same(begun["plan"])
        stored: Mapping[str, Any] = begun
        return stored

    def _write_plan(self, **facts: object) -> None:
        text = json.dumps({"plan": self.plan, **facts}, indent=2)
        _replace(self.folder / _PLAN, lambda file: file.write_text(text, encoding="utf-8"))

    def path(self, number: int) -> Path:
        """Return the path of one chunk's shard."""
        return self.folder / f"{number:08}.parquet"

    def files(self) -> list[Path]:
        """Return the shards of finished chunks, in order; with parallel chunks there may be gaps."""
        return sorted(self.folder.glob("[0-9]*.parquet"))

    def write(self, number: int, table: pa.Table) -> None:
        """Write one chunk's table to its shard."""
        _write(self.path(number), [table], table.schema)

    def failed(self) -> int:
        """Count the rows with a problem in all shards."""
        return sum(failed_rows(pq.read_table(path, columns=_COUNTED)) for path in self.files())

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the tables of all shards, in order; all columns without names."""
        return (pq.read_table(path, columns=columns) for path in self.files())

    def join(self, schema: pa.Schema, tables: Iterable[pa.Table] | None = None) -> None:
        """Join tables into the result.

        Args:
            schema: of the result; only its columns are kept.
            tables: tables of the result; None: those of all shards, in order.
        """
        whole = self.folder / _WHOLE
        gathered = _gathered(self.tables(schema.names) if tables is None else tables)
        metadata = {**(schema.metadata or {}), PLAN_KEY: json.dumps(self.plan, sort_keys=True).encode()}
        _write(whole, gathered, schema.with_metadata(metadata))
        whole.replace(self.out)

    def remove(self) -> None:
        """Remove the shards."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _list(self, names: Iterator[str], *, shown: object) -> Listing:
        listing = Listing.write(self.folder / _FILES, names)
        if not listing.count:
            raise ScoringRefused(
                f"{shown} holds no file (hidden ones do not count); name a folder of pictures"
            )
        self._write_plan(files=listing.count, sha256=listing.sha256)
        return listing

    def _check_same(self, begun: Mapping[str, Any]) -> None:
        for name in (*self.plan, *begun):
            if begun.get(name) != self.plan.get(name):
                raise ScoringBegunOtherwise(
                    parts=self.folder, what=name, begun=begun.get(name), now=self.plan.get(name)
                )


def failed_rows(table: pa.Table) -> int:
    """Count the rows with a problem instead of an answer."""
    return len(table) - int(pc.sum(table["error"].is_null()).as_py() or 0)


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the same rows in fewer, larger tables."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= _ROW_GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _write(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    def write(file: Path) -> None:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table.cast(schema))

    _replace(path, write)


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file atomically, also when the power fails."""
    temporary = path.with_name(f".{path.name}")
    write(temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
