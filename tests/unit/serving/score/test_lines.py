"""A timeline's rows to lines that are short enough to draw."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from serving.score.video.lines import SPANS, track_lines
from serving.score.video.timeline import ClipFacts, TrackedFace

CLASSES = ("happy", "neutral", "sad")


def facts_of(duration_s: float, *, rate: float = 25.0, every: int = 5) -> ClipFacts:
    return ClipFacts(
        clip="clip.mp4", clip_sha256="0" * 64, width=640, height=480, rate=rate, every=every,
        frames=round(duration_s * rate), duration_s=duration_s, missing_s=0.0, time_constant_s=0.7,
        classes=CLASSES, model="emotion", version="1", sample=False,
    )  # fmt: skip


def face(time_s: float, *shares: float, track: int = 1, side: int = 50) -> TrackedFace:
    smoothed = np.array(shares)
    return TrackedFace(
        time_s=time_s, frame=round(time_s * 25), track=track, box=(10, 20, side, side), score=1.0,
        emotion=CLASSES[int(smoothed.argmax())], smoothed=smoothed,
    )  # fmt: skip


def test_a_short_clip_keeps_every_scored_frame() -> None:
    faces = [face(0.2 * step, 0.5 + 0.04 * step, 0.3, 0.2 - 0.04 * step) for step in range(5)]
    (line,) = track_lines(faces, facts_of(1.0))
    assert line.times_s == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    assert np.array(line.means) == pytest.approx(np.array([each.smoothed for each in faces]))
    assert (line.faces, line.begin_s, line.end_s) == (5, 0.0, 0.8)


def test_a_long_clip_has_the_means_of_equal_spans() -> None:
    duration_s = 4000.0
    rng = np.random.default_rng(1)
    times, shares = np.arange(0, duration_s, 0.4), rng.dirichlet(np.ones(3), 10_000)
    rows = (face(float(time_s), *each) for time_s, each in zip(times, shares, strict=True))
    (line,) = track_lines(rows, facts_of(duration_s, every=10))
    assert len(line.times_s) == SPANS
    expected = shares.reshape(SPANS, -1, 3).mean(axis=1)
    assert np.array(line.means) == pytest.approx(expected)
    assert line.times_s == pytest.approx(times.reshape(SPANS, -1).mean(axis=1).tolist())
    assert line.faces == 10_000


def test_stretches_by_hand() -> None:
    steps = [(0.8, 0.1, 0.1), (0.6, 0.2, 0.2), (0.1, 0.1, 0.8), (0.2, 0.7, 0.1), (0.0, 0.9, 0.1)]
    (line,) = track_lines((face(0.2 * at, *each) for at, each in enumerate(steps)), facts_of(1.0))
    found = [(each.emotion, each.begin_s, each.end_s, each.probability) for each in line.stretches(CLASSES)]
    assert [emotion for emotion, *_ in found] == ["happy", "sad", "neutral"]
    expected = [(0.0, 0.3, 0.7), (0.3, 0.5, 0.8), (0.5, 0.8, 0.8)]
    assert [numbers for _, *numbers in found] == [pytest.approx(each) for each in expected]


def test_a_track_of_one_face_is_a_stretch_without_duration() -> None:
    (line,) = track_lines([face(3.0, 0.2, 0.3, 0.5)], facts_of(10.0))
    (stretch,) = line.stretches(CLASSES)
    assert (stretch.emotion, stretch.begin_s, stretch.duration_s) == ("sad", 3.0, 0.0)


def test_each_track_has_its_own_line_and_its_largest_face() -> None:
    def rows() -> Iterator[TrackedFace]:
        for step in range(10):
            yield face(0.2 * step, 0.9, 0.1, 0.0, track=2, side=40 + (5 - abs(5 - step)))
            if step >= 4:
                yield face(0.2 * step, 0.0, 0.1, 0.9, track=1)

    first, second = track_lines(rows(), facts_of(2.0))
    assert (first.number, second.number) == (1, 2)
    assert (first.faces, second.faces) == (6, 10)
    assert first.begin_s == pytest.approx(0.8)
    assert second.largest == (25, (10, 20, 45, 45))
