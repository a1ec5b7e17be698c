"""Tables to one Parquet file, so that a run that was killed at any moment goes on where it was.

    predictions.parquet          appears when all is done, whole
    predictions.parquet.parts/   until then
        files       what is scored, fixed at the start
        plan.json   the model and the options; a run with others is refused
        00000000.parquet, …      one for each finished chunk, each whole or not there

The file holds the plan too: a second run of the same is told that there is nothing left to do.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.errors import OutputTaken, ScoringBegunOtherwise, ScoringRefused
from serving.score.listing import Listing

PLAN_KEY = b"mien.scoring"
"""Of the Parquet file's metadata: which model and options made it."""

_PLAN, _FILES, _LOCK, _WHOLE = "plan.json", "files", "lock", "whole"
# What readers of Parquet are made for; a thousand rows each would cost them more than the rows.
_ROW_GROUP = 1 << 16
_COUNTED = ["error"]


@dataclass(frozen=True, kw_only=True)
class ScoringProgress:
    """How far a run is."""

    files: int
    """To be scored in all."""
    done: int
    """Of them, how many have their row."""
    failed: int
    """Of these, how many have a problem instead of an answer."""


class Shards:
    """The parts of one result."""

    def __init__(self, out: Path, plan: Mapping[str, Any]) -> None:
        """Remember where; nothing is touched.

        Args:
            out: the result.
            plan: whatever decides what its rows say, as JSON values.
        """
        self.out = out
        self.plan = dict(plan)
        self.folder = out.with_name(f"{out.name}.parts")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the run's folder; let go when the process ends, however it ends.

        Raises:
            ScoringRefused: another run holds it.
            OSError: there is no such place.
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
                # Nothing was begun: nothing is to be gone on with.
                if not (self.folder / _PLAN).exists():
                    self.remove()

    def finished(self) -> ScoringProgress | None:
        """What an earlier run has written already; None when there is no file.

        Raises:
            OutputTaken: there is a file, and it is something else.
        """
        if not self.out.exists():
            return None
        try:
            with pq.ParquetFile(self.out) as file:
                stored = (file.schema_arrow.metadata or {}).get(PLAN_KEY)
                if stored is None or json.loads(stored) != self.plan:
                    raise OutputTaken(path=self.out)
                table = file.read(columns=_COUNTED)
        except (pa.ArrowException, ValueError) as error:
            raise OutputTaken(path=self.out) from error
        return ScoringProgress(files=len(table), done=len(table), failed=failed_rows(table))

    def begin(self, names: Callable[[], Iterator[str]], *, shown: object) -> Listing:
        """List what is to be scored, or take the list that a run of the same plan has begun with.

        Args:
            names: gives what is to be scored.
            shown: where that is, for messages.

        Raises:
            ScoringRefused: there is nothing, or the parts that are there are damaged.
            ScoringBegunOtherwise: they are of another plan.
        """
        try:
            begun = json.loads((self.folder / _PLAN).read_bytes())
        except FileNotFoundError:
            return self._list(names(), shown=shown)
        except ValueError as error:
            raise ScoringRefused(
                f"{self.folder / _PLAN} is damaged; remove {self.folder} to begin anew"
            ) from error
        self._check_same(begun["plan"])
        return Listing(path=self.folder / _FILES, count=begun["files"], sha256=begun["sha256"])

    def path(self, number: int) -> Path:
        """Of one chunk's part."""
        return self.folder / f"{number:08}.parquet"

    def files(self) -> list[Path]:
        """Those of finished chunks, in order; where chunks ran side by side there may be gaps."""
        return sorted(self.folder.glob("[0-9]*.parquet"))

    def write(self, number: int, table: pa.Table) -> None:
        """Keep one chunk's table."""
        _write(self.path(number), [table], table.schema)

    def failed(self) -> int:
        """Rows with a problem, of all parts."""
        return sum(failed_rows(pq.read_table(path, columns=_COUNTED)) for path in self.files())

    def join(self, schema: pa.Schema) -> None:
        """All parts as one file, one after the other; of their columns those of the schema."""
        whole = self.folder / _WHOLE
        tables = _gathered(pq.read_table(path, columns=schema.names) for path in self.files())
        metadata = {PLAN_KEY: json.dumps(self.plan, sort_keys=True).encode()}
        _write(whole, tables, schema.with_metadata(metadata))
        whole.replace(self.out)

    def remove(self) -> None:
        """Remove the parts."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _list(self, names: Iterator[str], *, shown: object) -> Listing:
        listing = Listing.write(self.folder / _FILES, names)
        if not listing.count:
            raise ScoringRefused(
                f"{shown} holds no file (hidden ones do not count); name a folder of pictures"
            )
        text = json.dumps({"plan": self.plan, "files": listing.count, "sha256": listing.sha256}, indent=2)
        _replace(self.folder / _PLAN, lambda file: file.write_text(text, encoding="utf-8"))
        return listing

    def _check_same(self, begun: Mapping[str, Any]) -> None:
        for name in (*self.plan, *begun):
            if begun.get(name) != self.plan.get(name):
                raise ScoringBegunOtherwise(
                    parts=self.folder, what=name, begun=begun.get(name), now=self.plan.get(name)
                )


def failed_rows(table: pa.Table) -> int:
    """Rows with a problem instead of an answer."""
    return len(table) - int(pc.sum(table["error"].is_null()).as_py() or 0)


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in fewer, larger tables."""
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
    """Put a file in its place, whole, also when the power fails."""
    temporary = path.with_name(f".{path.name}")
    write(temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
