"""The timeline of a clip: one row for each face of each scored frame, in a Parquet file.

time_s, frame                  when the frame is shown, and its number among all frames, from 0
track                          which face it is, from 1
x, y, width, height, score     its box in px of the upright frame; how sure the detector is
emotion                        the most probable class of the smoothed probabilities
p_<class>, smooth_<class>      probabilities of this frame alone, and smoothed over time

The schema's metadata has the plan of the run (`serving.score.shards`) and the facts about the clip.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from serving.contract import Box
from serving.errors.operation import OutputTaken
from serving.score.video.faces import BOX, EMBEDDING, probability_columns
from serving.score.video.tracking import Tracker

FACTS_KEY = b"mien.video"
"""Key in the Parquet file's metadata for the facts about the clip."""
TIME_CONSTANT_S = 0.7
"""As on the page (js/smooth.js): shorter than a smile, longer than the flicker between two frames."""

Probabilities = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ClipFacts:
    """What a timeline says of its clip and its model; stored as JSON in the file."""

    clip: str
    """Name of the file, without its folder."""
    clip_sha256: str
    width: int
    """Columns of an upright frame, px."""
    height: int
    """Rows of an upright frame, px."""
    rate: float
    """Frames per second by the file."""
    every: int
    """n: every n-th frame was scored."""
    frames: int
    """Number of frames that were read."""
    duration_s: float
    """When the last frame that was read ends."""
    missing_s: float
    """Seconds that the file promises and does not have; 0 for a whole file."""
    time_constant_s: float
    """Of the smoothing; 0: none."""
    classes: tuple[str, ...]
    model: str
    version: str
    sample: bool
    """Whether the model was trained on drawings: a demonstration, not for real faces."""

    @property
    def scored(self) -> int:
        """Number of scored frames."""
        return -(-self.frames // self.every)

    def to_json(self) -> str:
        """Return the facts as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: bytes) -> ClipFacts:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is not JSON.
            TypeError: it has other keys.
        """
        values = json.loads(text)
        return cls(**{**values, "classes": tuple(values["classes"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackedFace:
    """One row of a timeline."""

    time_s: float
    frame: int
    track: int
    box: Box
    score: float
    emotion: str
    smoothed: Probabilities
    """float64 [classes]; the sum is 1."""


class Smoother:
    """Smooths the probabilities of each track: an exponential mean over time, for frames at any distance.

    s(t) = s(t′) + (1 − exp(−(t − t′) / τ)) · (p(t) − s(t′)), where t′ is the time of the track's row before.
    Eckner, 2012, "Algorithms for unevenly spaced time series", calls it EMA with next-point interpolation.
    The probabilities still add up to 1. A change is followed with a delay of about τ.
    """

    def __init__(self, time_constant_s: float = TIME_CONSTANT_S, *, forget_s: float) -> None:
        """Create a smoother.

        Args:
            time_constant_s: τ, seconds; 0 leaves the probabilities as they are.
            forget_s: tracks that were not seen for longer are forgotten.
        """
        self._time_constant_s = time_constant_s
        self._forget_s = forget_s
        self._last: dict[int, tuple[float, Probabilities]] = {}

    def take(self, time_s: float, tracks: Sequence[int], probabilities: Probabilities) -> Probabilities:
        """Return the smoothed probabilities of one frame's faces.

        Args:
            time_s: time of the frame; later than that of the frame before it.
            tracks: number of each face's track.
            probabilities: of each face, [n, classes].
        """
        self._last = {track: last for track, last in self._last.items() if time_s - last[0] <= self._forget_s}
        smoothed = probabilities.copy()
        for index, track in enumerate(tracks):
            if track in self._last and self._time_constant_s > 0:
                before_s, before = self._last[track]
                weight = -np.expm1(-(time_s - before_s) / self._time_constant_s)
                smoothed[index] = before + weight * (probabilities[index] - before)
            self._last[track] = time_s, smoothed[index]
        return smoothed


def smooth_columns(classes: Iterable[str]) -> list[str]:
    """Columns of the smoothed probabilities."""
    return [f"smooth_{name}" for name in classes]


def timeline_schema(faces: pa.Schema, facts: ClipFacts, *, embedding: bool) -> pa.Schema:
    """Schema of a timeline.

    Args:
        faces: schema of the faces that it is made of.
        facts: facts about the clip, for the metadata.
        embedding: whether the model's features are kept.
    """
    fields = {field.name: field for field in faces if embedding or field.name != EMBEDDING}
    first = [fields.pop(name) for name in ("time_s", "frame")]
    place = [fields.pop(name) for name in (*BOX, "score")]
    smooth = [pa.field(name, pa.float32(), nullable=False) for name in smooth_columns(facts.classes)]
    track, emotion = (
        pa.field("track", pa.int32(), nullable=False),
        pa.field("emotion", pa.string(), nullable=False),
    )
    given = [fields.pop(name) for name in probability_columns(facts.classes)]
    columns = [*first, track, *place, emotion, *given, *smooth, *fields.values()]
    return pa.schema(columns, metadata={FACTS_KEY: facts.to_json().encode()})


def tracked_tables(
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    *,
    classes: Sequence[str],
    tracker: Tracker,
    smoother: Smoother,
) -> Iterator[pa.Table]:
    """Yield the faces of a clip with track and smoothed probabilities.

    Args:
        tables: faces in the order of their frames.
        schema: schema of the result.
        classes: of the model, in its order.
        tracker: a new one.
        smoother: a new one.
    """
    for table in tables:
        times, frames = (table[name].to_numpy() for name in ("time_s", "frame"))
        boxes, probabilities = _matrix(table, BOX), _matrix(table, probability_columns(classes))
        embeddings = np.array(table[EMBEDDING].to_pylist(), np.float64)
        tracks, smoothed = np.zeros(len(table), np.int32), np.zeros_like(probabilities)
        # A frame's faces are never in two tables.
        for rows in np.split(np.arange(len(table)), np.flatnonzero(np.diff(frames)) + 1):
            if len(rows):
                tracks[rows] = tracker.update(times[rows[0]], boxes[rows], embeddings[rows])
                smoothed[rows] = smoother.take(times[rows[0]], tracks[rows].tolist(), probabilities[rows])
        added = {
            "track": pa.array(tracks),
            "emotion": pa.array([classes[index] for index in smoothed.argmax(axis=1)], pa.string()),
            **dict(zip(smooth_columns(classes), map(pa.array, smoothed.T.astype(np.float32)), strict=True)),
        }
        for name, column in added.items():
            table = table.append_column(name, column)
        yield table.select(schema.names).cast(schema)


def _matrix(table: pa.Table, names: Sequence[str]) -> Probabilities:
    return np.stack([table[name].to_numpy() for name in names], axis=1).astype(np.float64)


class Timeline:
    """A timeline that a run has written; rows are read as they are needed."""

    def __init__(self, path: Path) -> None:
        """Read the facts.

        Raises:
            OutputTaken: the file is not a timeline.
            OSError: it cannot be read.
        """
        self.path = path
        try:
            metadata = pq.read_schema(path).metadata or {}
            self.facts = ClipFacts.from_json(metadata[FACTS_KEY])
        except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise OutputTaken(path=path) from error

    def tracks(self) -> int:
        """Return the number of tracks."""
        with pq.ParquetFile(self.path) as file:
            batches = file.iter_batches(columns=["track"])
            return max((pc.max(batch["track"]).as_py() or 0 for batch in batches), default=0)

    def faces(self) -> Iterator[TrackedFace]:
        """Yield all rows, in the order of time."""
        names = smooth_columns(self.facts.classes)
        columns = ["time_s", "frame", "track", *BOX, "score", "emotion", *names]
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(columns=columns):
                table = pa.Table.from_batches([batch])
                smoothed = _matrix(table, names)
                for index, row in enumerate(table.select(columns[: -len(names)]).to_pylist()):
                    box = (row.pop("x"), row.pop("y"), row.pop("width"), row.pop("height"))
                    yield TrackedFace(**row, box=box, smoothed=smoothed[index])
