"""A timeline to one line per track, short enough to draw: means of equal spans of time, and stretches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from serving.contract import Box
from serving.score.video.timeline import ClipFacts, Probabilities, TrackedFace

SPANS = 400
"""Largest number of spans of a clip; an hour has one for each 9 s."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A time in which one emotion is the most probable one."""

    begin_s: float
    end_s: float
    emotion: str
    probability: float
    """Mean of the emotion's smoothed probability, in [0, 1]."""

    @property
    def duration_s(self) -> float:
        """Seconds from begin to end."""
        return self.end_s - self.begin_s


@dataclass(kw_only=True, slots=True)
class TrackLine:
    """What is drawn of one track."""

    number: int
    faces: int = 0
    """Number of frames in which the face was found."""
    largest: tuple[int, Box] = (0, (0, 0, 0, 0))
    """Frame in which the face is largest, and its box there."""
    times_s: list[float] = field(default_factory=list)
    """Mean time of each span."""
    means: list[Probabilities] = field(default_factory=list)
    """Mean smoothed probabilities of each span, float64 [classes]."""
    begin_s: float = 0.0
    end_s: float = 0.0
    """Time of the last face."""

    def stretches(self, classes: Sequence[str]) -> list[Stretch]:
        """Return the times of one emotion each, in order, without gaps."""
        values = np.array(self.means)
        strongest = values.argmax(axis=1)
        firsts = [0, *(np.flatnonzero(np.diff(strongest)) + 1).tolist()]
        # One emotion ends in the middle between two spans.
        middles = [(self.times_s[first - 1] + self.times_s[first]) / 2 for first in firsts[1:]]
        begins, ends = [self.begin_s, *middles], [*middles, self.end_s]
        parts = zip(firsts, [*firsts[1:], len(values)], begins, ends, strict=True)
        return [
            Stretch(
                begin_s=begin_s,
                end_s=end_s,
                emotion=classes[strongest[first]],
                probability=float(values[first:last, strongest[first]].mean()),
            )
            for first, last, begin_s, end_s in parts
        ]


def track_lines(faces: Iterable[TrackedFace], facts: ClipFacts) -> list[TrackLine]:
    """Gather the lines of all tracks; their size does not depend on the clip's length.

    Args:
        faces: rows of the timeline, in the order of time.
        facts: facts about the clip.

    Returns:
        The lines, in the order of the tracks' numbers.
    """
    # In frames: whole numbers fall into one span for certain.
    width = facts.every * -(-facts.scored // SPANS)
    lines: dict[int, TrackLine] = {}
    spans: dict[int, tuple[int, list[TrackedFace]]] = {}
    for face in faces:
        line = lines.setdefault(face.track, TrackLine(number=face.track, begin_s=face.time_s))
        line.faces += 1
        line.end_s = face.time_s
        if _area(face.box) > _area(line.largest[1]):
            line.largest = face.frame, face.box
        span = face.frame // width
        before, waiting = spans.get(face.track, (span, []))
        if before != span:
            _add(line, waiting)
            waiting = []
        spans[face.track] = span, [*waiting, face]
    for number, (_, waiting) in spans.items():
        _add(lines[number], waiting)
    return [lines[number] for number in sorted(lines)]


def _add(line: TrackLine, faces: Sequence[TrackedFace]) -> None:
    line.times_s.append(float(np.mean([face.time_s for face in faces])))
    line.means.append(np.asarray(np.mean([face.smoothed for face in faces], axis=0)))


def _area(box: Box) -> int:
    return box[2] * box[3]
