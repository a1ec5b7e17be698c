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

from serving.failures import OutputTaken, ScoringBegunOtherwise, ScoringRefused
from serving.scoring.listing import Listing, files_in
from serving.scoring.scorer import Scorer

PLAN_KEY = b"mien.scoring"
"""Of the Parquet file's metadata: which model and options made it."""
CHUNK = 1024
"""Files of one part: seconds of work on two cores, which is what a kill can cost."""

_PLAN, _FILES, _LOCK, _WHOLE = "plan.json", "files", "lock", "whole"
# What readers of Parquet are made for; a thousand rows each would cost them more than the rows.
_ROW_GROUP = 1 << 16
_COUNTED = ["error"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is."""

    files: int
    """To be scored in all."""
    done: int
    """Of them, how many have their row."""
    failed: int
    """Of these, how many have a problem instead of an answer."""


def score_folder(
    scorer: Scorer,
    folder: Path,
    out: Path,
    *,
    chunk: int = CHUNK,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Score a folder into one Parquet file, or go on with it.

    Args:
        scorer: with the model.
        folder: of pictures, at any depth.
        out: written when all is done; its folder must exist.
        chunk: files of one part.
        tell: called after each part, and once before the first.

    Raises:
        ScoringRefused: there is nothing to score, the result cannot be written, another run writes it, or
            the file or the parts that are there are of another model or of other options.
    """
    plan = {**scorer.plan, "folder": str(folder.resolve()), "chunk": chunk, "columns": scorer.schema.names}
    try:
        with _alone(out):
            finished = _finished(out, plan) or _go_on(scorer, folder, out, plan=plan, chunk=chunk, tell=tell)
            shutil.rmtree(_parts(out))
            return finished
    except OSError as error:
        raise ScoringRefused(
            f"{error.filename or out}: {error.strerror or error}; put it right and run the same command again"
        ) from error


def _go_on(
    scorer: Scorer,
    folder: Path,
    out: Path,
    *,
    plan: dict[str, Any],
    chunk: int,
    tell: Callable[[Progress], None],
) -> Progress:
    listing = _begin(folder, out, plan)
    parts = _parts(out)
    finished = _part_files(parts)
    failed = sum(_failed(pq.read_table(path, columns=_COUNTED)) for path in finished)
    number = len(finished)
    tell(Progress(files=listing.count, done=min(number * chunk, listing.count), failed=failed))
    for table in scorer.tables(folder, listing.chunks(chunk, skip=number)):
        _write(parts / f"{number:08}.parquet", [table], table.schema)
        number += 1
        failed += _failed(table)
        tell(Progress(files=listing.count, done=min(number * chunk, listing.count), failed=failed))
    _join(parts, out, scorer.schema, plan=plan)
    return Progress(files=listing.count, done=listing.count, failed=failed)


def _begin(folder: Path, out: Path, plan: dict[str, Any]) -> Listing:
    """List the files, or take the list that a run of the same plan has begun with."""
    parts = _parts(out)
    try:
        begun = json.loads((parts / _PLAN).read_bytes())
    except FileNotFoundError:
        listing = Listing.write(parts / _FILES, files_in(folder, without=out))
        if not listing.count:
            raise ScoringRefused(
                f"{folder} holds no file (hidden ones do not count); name a folder of pictures"
            ) from None
        text = json.dumps({"plan": plan, "files": listing.count, "sha256": listing.sha256}, indent=2)
        _replace(parts / _PLAN, lambda file: file.write_text(text, encoding="utf-8"))
        return listing
    except ValueError as error:
        raise ScoringRefused(f"{parts / _PLAN} is damaged; remove {parts} to begin anew") from error
    _check_same(begun["plan"], plan, out)
    return Listing(path=parts / _FILES, count=begun["files"], sha256=begun["sha256"])


def _finished(out: Path, plan: dict[str, Any]) -> Progress | None:
    """What an earlier run has written already; None when there is no file."""
    if not out.exists():
        return None
    try:
        with pq.ParquetFile(out) as file:
            stored = (file.schema_arrow.metadata or {}).get(PLAN_KEY)
            if stored is None or json.loads(stored) != plan:
                raise OutputTaken(path=out)
            table = file.read(columns=_COUNTED)
    except (pa.ArrowException, ValueError) as error:
        raise OutputTaken(path=out) from error
    return Progress(files=len(table), done=len(table), failed=_failed(table))


def _check_same(begun: Mapping[str, Any], plan: Mapping[str, Any], out: Path) -> None:
    for name in (*plan, *begun):
        if begun.get(name) != plan.get(name):
            raise ScoringBegunOtherwise(
                parts=_parts(out), what=name, begun=begun.get(name), now=plan.get(name)
            )


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the run's folder; let go when the process ends, however it ends."""
    parts = _parts(out)
    parts.mkdir(exist_ok=True)
    with (parts / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ScoringRefused(f"{out} is being written by another run; wait for it or end it") from error
        try:
            yield
        finally:
            # Nothing was begun: nothing is to be gone on with.
            if not (parts / _PLAN).exists():
                shutil.rmtree(parts, ignore_errors=True)


def _parts(out: Path) -> Path:
    return out.with_name(f"{out.name}.parts")


def _part_files(parts: Path) -> list[Path]:
    """Those of finished chunks; they are written in order, so there is no gap."""
    return sorted(parts.glob("[0-9]*.parquet"))


def _join(parts: Path, out: Path, schema: pa.Schema, *, plan: Mapping[str, Any]) -> None:
    """All parts as one file, one after the other."""
    whole = parts / _WHOLE
    tables = _gathered(pq.read_table(path) for path in _part_files(parts))
    _write(whole, tables, schema.with_metadata({PLAN_KEY: json.dumps(plan, sort_keys=True).encode()}))
    whole.replace(out)


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


def _failed(table: pa.Table) -> int:
    return len(table) - int(pc.sum(table["error"].is_null()).as_py() or 0)
