"""A clip and its timeline to a WebM file (VP9) with boxes, track numbers and emotions.

The video has the clip's nominal rate and plays as long as the clip; between two scored frames boxes move
evenly. OpenCV's wheel writes VP9 and VP8 and has no encoder for H.264. The sound is not copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import cv2
import numpy as np

from serving.contract import Image
from serving.detection.labels import draw_labels, text_of
from serving.detection.overlay import draw_corners
from serving.errors.operation import VideoUnwritable
from serving.libraries import silent_native_code
from serving.score.shards import ScoringProgress
from serving.score.video.clip import Clip, Frame
from serving.score.video.timeline import ClipFacts, Timeline, TrackedFace

SUFFIX = ".webm"
MAX_SIDE_PX = 1280
"""Larger frames are shrunk to it: VP9 on a CPU takes seconds for a frame of a 4K video."""
# VP8 where an own build of OpenCV lacks VP9.
_CODECS = ("VP90", "VP80")
_NOTIFIED = 25

Scored = tuple[int, list[TrackedFace]]
"""Number of a scored frame with faces, and its faces."""


def write_annotated(
    timeline: Timeline,
    clip: Clip,
    path: Path,
    *,
    notify: Callable[[ScoringProgress], None] = lambda progress: None,
) -> None:
    """Write the annotated video; the file appears when it is complete.

    Args:
        timeline: timeline of the clip.
        clip: the clip.
        path: file that is written; it ends with `SUFFIX`.
        notify: called from time to time with the number of frames.

    Raises:
        VideoUnwritable: OpenCV cannot write it.
        VideoUnreadable: the clip cannot be read any more.
    """
    check_name(path)
    facts = timeline.facts
    scale = min(1.0, MAX_SIDE_PX / max(facts.width, facts.height))
    # Encoders of 4:2:0 want even sides.
    size = tuple(max(2, round(side * scale / 2) * 2) for side in (facts.width, facts.height))
    part = path.with_name(f".{path.name}{SUFFIX}")
    writer = _opened(part, path, rate=facts.rate, size=(size[0], size[1]))
    try:
        written = 0
        for frame, faces in annotated_frames(clip.reader().frames(), timeline.faces(), facts):
            drawn = draw_faces(frame.image, faces, facts, size=(size[0], size[1]))
            # The file's rate is constant: a frame is repeated until its successor's time, or left out.
            while written / facts.rate <= frame.time_s + 0.5 / facts.rate:
                writer.write(drawn)
                written += 1
            if frame.number % _NOTIFIED == 0:
                notify(ScoringProgress(files=facts.frames, done=frame.number, failed=0))
        writer.release()
        if not part.is_file() or not part.stat().st_size:
            raise VideoUnwritable(path=path, reason="OpenCV wrote nothing; the disk may be full")
        part.replace(path)
    finally:
        writer.release()
        part.unlink(missing_ok=True)


def check_name(path: Path) -> None:
    """Check before a long run that a name is one of a WebM file.

    Raises:
        VideoUnwritable: it is not.
    """
    if path.suffix.lower() != SUFFIX:
        raise VideoUnwritable(path=path, reason=f"its name ends with {path.suffix!r}, expected {SUFFIX}")
    if not path.parent.is_dir():
        raise VideoUnwritable(path=path, reason=f"the folder {path.parent} does not exist")


def annotated_frames(
    frames: Iterable[Frame], faces: Iterable[TrackedFace], facts: ClipFacts
) -> Iterator[tuple[Frame, list[TrackedFace]]]:
    """Yield every frame with its faces; between two scored frames, boxes move evenly.

    Args:
        frames: all frames of the clip.
        faces: rows of its timeline.
        facts: facts about the clip.
    """
    scored: Iterator[Scored] = (
        (number, list(group)) for number, group in groupby(faces, key=attrgetter("frame"))
    )
    before, after = (-1, list[TrackedFace]()), next(scored, None)
    for frame in frames:
        while after is not None and after[0] <= frame.number:
            before, after = after, next(scored, None)
        # A frame that was not scored shows the faces of the last scored one, not those of an older one.
        is_current = frame.number - before[0] < facts.every
        yield frame, _between(before[1], after, frame, facts) if is_current else []


def _between(
    faces: list[TrackedFace], after: Scored | None, frame: Frame, facts: ClipFacts
) -> list[TrackedFace]:
    later: Mapping[int, TrackedFace] = {}
    if after is not None and faces and after[0] - faces[0].frame <= facts.every:
        later = {face.track: face for face in after[1]}
    return [_moved(face, later[face.track], frame) if face.track in later else face for face in faces]


def _moved(face: TrackedFace, later: TrackedFace, frame: Frame) -> TrackedFace:
    share = (frame.time_s - face.time_s) / (later.time_s - face.time_s)
    left, top, width, height = (round(a + share * (b - a)) for a, b in zip(face.box, later.box, strict=True))
    return replace(face, box=(left, top, width, height))


def draw_faces(
    image: Image, faces: Iterable[TrackedFace], facts: ClipFacts, *, size: tuple[int, int]
) -> Image:
    """Draw a frame's boxes and labels.

    Args:
        image: upright, uint8 [height, width, 3], RGB; not changed.
        faces: faces of the frame.
        facts: facts about the clip.
        size: width and height of the result, px.

    Returns:
        uint8 [size[1], size[0], 3], BGR.
    """
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    drawn = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2BGR), np.uint8)
    scale = np.array([size[0] / facts.width, size[1] / facts.height] * 2)
    boxes, texts = [], []
    for face in faces:
        left, top, width, height = (int(side) for side in np.rint(face.box * scale))
        boxes.append((left, top, max(1, width), max(1, height)))
        texts.append(text_of(str(face.track), face.emotion, float(face.smoothed.max()), facts.classes))
        draw_corners(drawn, boxes[-1])
    if boxes:
        draw_labels(drawn, boxes, texts, longer_px=max(size))
    return drawn


def _opened(part: Path, path: Path, *, rate: float, size: tuple[int, int]) -> cv2.VideoWriter:
    for codec in _CODECS:
        code = cv2.VideoWriter.fourcc(*codec)
        # OpenCV writes to standard error that WebM has no such tag, and then uses the right one.
        with silent_native_code():
            writer = cv2.VideoWriter(str(part), cv2.CAP_FFMPEG, code, rate, size)
        if writer.isOpened():
            return writer
    raise VideoUnwritable(path=path, reason=f"OpenCV {cv2.__version__} writes neither VP9 nor VP8 here")
