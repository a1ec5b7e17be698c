"""A folder of pictures to one Parquet file, chunk by chunk; `parts` says what a kill leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from serving.errors import ScoringRefused
from serving.scoring.listing import files_in
from serving.scoring.parts import PLAN_KEY, Parts, Progress, failed_rows
from serving.scoring.scorer import Scorer

CHUNK = 1024
"""Files of one part: seconds of work on two cores, which is what a kill can cost."""

__all__ = ["CHUNK", "PLAN_KEY", "Progress", "score_folder"]


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
    parts = Parts(out, plan)
    try:
        with parts.alone():
            finished = parts.finished() or _go_on(scorer, folder, parts, chunk=chunk, tell=tell)
            parts.remove()
            return finished
    except OSError as error:
        raise ScoringRefused(
            f"{error.filename or out}: {error.strerror or error}; put it right and run the same command again"
        ) from error


def _go_on(
    scorer: Scorer, folder: Path, parts: Parts, *, chunk: int, tell: Callable[[Progress], None]
) -> Progress:
    listing = parts.begin(lambda: files_in(folder, without=parts.out), shown=folder)
    # Written in order, so there is no gap.
    number, failed = len(parts.files()), parts.failed()

    def progress() -> Progress:
        return Progress(files=listing.count, done=min(number * chunk, listing.count), failed=failed)

    tell(progress())
    for table in scorer.tables(folder, listing.chunks(chunk, skip=number)):
        parts.write(number, table)
        number += 1
        failed += failed_rows(table)
        tell(progress())
    parts.join(scorer.schema)
    return progress()
