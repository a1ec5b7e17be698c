"""Scores a clip into one timeline, chunk by chunk; a run that was killed continues from its shards.

The shards have the faces of each chunk of frames. Tracks and smoothed probabilities are computed from all of
them at the end, which takes a small part of the time: they do not depend on where a run was interrupted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving.errors.operation import ScoringRefused
from serving.score.scorer import Scorer
from serving.score.shards import ScoringProgress, Shards
from serving.score.video.clip import Clip, ClipReader
from serving.score.video.faces import faces_schema, find_faces
from serving.score.video.timeline import (
    TIME_CONSTANT_S,
    ClipFacts,
    Smoother,
    Timeline,
    timeline_schema,
    tracked_tables,
)
from serving.score.video.tracking import MAX_GAP_S, Tracker

CHUNK = 256
"""Scored frames of one shard: some 50 s of a clip, the most that a kill can cost."""
SCORED_PER_S = 5.0
"""Frames per second that are scored unless `every` says otherwise: three for the shortest felt smile, 2/3 s
(Ekman & Friesen, 1982, "Felt, false, and miserable smiles")."""
# A track outlives at least this many scored frames without its face.
_MISSED = 2


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """How a clip is scored."""

    every: int | None = None
    """n: every n-th frame is scored; None: about `SCORED_PER_S` frames per second."""
    time_constant_s: float = TIME_CONSTANT_S
    """Of the smoothing, seconds; 0: none."""
    chunk: int = CHUNK
    """Number of scored frames in one shard."""

    def every_of(self, clip: Clip) -> int:
        """Return n for a clip: every n-th frame is scored."""
        return self.every or max(1, round(clip.rate / SCORED_PER_S))


def score_clip(
    scorer: Scorer,
    clip: Clip,
    out: Path,
    options: ClipOptions,
    *,
    notify: Callable[[ScoringProgress], None] = lambda progress: None,
) -> Timeline:
    """Score a clip into one Parquet file, or continue an earlier run.

    Args:
        scorer: scorer with the model, made with `faces="all"`.
        clip: clip to score.
        out: file that is written at the end; its folder must exist.
        options: how the clip is scored.
        notify: called once before the first shard and after each.

    Raises:
        ScoringRefused: the result cannot be written, another run writes it, or the existing file or shards
            belong to another clip, another model or other options.
    """
    every = options.every_of(clip)
    try:
        sha256 = _sha256(clip.path)
        plan = {
            **scorer.plan,
            "clip": sha256,
            "every": every,
            "time_constant_s": options.time_constant_s,
            "chunk": options.chunk,
            "columns": faces_schema(scorer).names,
        }
        parts = Shards(out, plan)
        with parts.alone():
            if not parts.is_finished():
                _go_on(scorer, clip, parts, every=every, options=options, sha256=sha256, notify=notify)
            parts.remove()
        return Timeline(out)
    except OSError as error:
        raise ScoringRefused(
            f"{error.filename or out}: {error.strerror or error}; correct that and run the same command again"
        ) from error


def _go_on(
    scorer: Scorer,
    clip: Clip,
    parts: Shards,
    *,
    every: int,
    options: ClipOptions,
    sha256: str,
    notify: Callable[[ScoringProgress], None],
) -> None:
    parts.begin_without_list()
    number, reader = len(parts.files()), clip.reader()
    expected = -(-(clip.frames or 0) // every)

    def tell(scored: int, *, ended: bool = False) -> None:
        notify(ScoringProgress(files=scored if ended else max(expected, scored), done=scored, failed=0))

    tell(number * options.chunk)
    frames = reader.frames(every=every, skip=number * options.chunk)
    for table in find_faces(scorer, frames, chunk=options.chunk):
        parts.write(number, table)
        number += 1
        tell(min(number * options.chunk, -(-reader.read // every)))
    facts = _facts(scorer, reader, every=every, time_constant_s=options.time_constant_s, sha256=sha256)
    tell(facts.scored, ended=True)
    schema = timeline_schema(faces_schema(scorer), facts, embedding=scorer.embedding)
    gap_s = max(MAX_GAP_S, (_MISSED + 0.5) * every / clip.rate)
    tracked = tracked_tables(
        parts.tables(),
        schema,
        classes=facts.classes,
        tracker=Tracker(max_gap_s=gap_s),
        smoother=Smoother(options.time_constant_s, forget_s=gap_s),
    )
    parts.join(schema, tracked)


def _facts(
    scorer: Scorer, reader: ClipReader, *, every: int, time_constant_s: float, sha256: str
) -> ClipFacts:
    clip, live = reader.clip, scorer.live
    return ClipFacts(
        clip=clip.path.name,
        clip_sha256=sha256,
        width=clip.width,
        height=clip.height,
        rate=clip.rate,
        every=every,
        frames=reader.read,
        duration_s=reader.end_s,
        missing_s=reader.missing_s,
        time_constant_s=time_constant_s,
        classes=live.contract.classes,
        model=live.identity.name,
        version=live.identity.version,
        sample=live.identity.sample,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
