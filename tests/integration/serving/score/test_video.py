"""A drawn clip with known truth: who is followed, what the lines say, and runs that are interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from docs.example_clip import ACTORS, CHANGE_S, DURATION_S, HEIGHT, WIDTH, Actor, draw_frames, write_clip
from serving.errors.operation import OutputTaken, ScoringBegunOtherwise
from serving.inference.model_slot import LiveModel
from serving.score.shards import PLAN_KEY, ScoringProgress
from serving.score.video.clip import Clip, Frame
from serving.score.video.faces import find_faces
from serving.score.video.scoring import ClipOptions, score_clip
from serving.score.video.timeline import TIME_CONSTANT_S, Timeline, TrackedFace
from serving.score.video.tracking import overlaps
from tests.support.clips import RATE, clip_scorer, drawn_clip, live_model, recorded_model

MANY = 10_000_000
EVERY, CHUNK = 2, 16
SCORED = round(DURATION_S * RATE / EVERY)
REPOSITORY = Path(__file__).parents[4]
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def clip(path: Path) -> Clip:
    return Clip.open(path, max_pixels=MANY)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> LiveModel:
    return live_model(recorded_model(tmp_path_factory.mktemp("model") / "model"))


@pytest.fixture(scope="module")
def timeline(tmp_path_factory: pytest.TempPathFactory, clip: Clip, live: LiveModel) -> Timeline:
    out = tmp_path_factory.mktemp("timeline") / "timeline.parquet"
    return score_clip(clip_scorer(live), clip, out, ClipOptions(chunk=CHUNK))


@pytest.fixture(scope="module")
def tracks(timeline: Timeline) -> dict[int, list[TrackedFace]]:
    found = defaultdict(list)
    for face in timeline.faces():
        found[face.track].append(face)
    return found


def person_of(track: list[TrackedFace]) -> Actor:
    """The person whose face is nearest to a track's first one."""
    first = track[0]
    distance = {
        actor.number: np.hypot(*np.subtract(actor.box(first.time_s)[:2], first.box[:2]))
        for actor in ACTORS
        if actor.is_seen(first.time_s)
    }
    return next(actor for actor in ACTORS if actor.number == min(distance, key=distance.__getitem__))


# Who


def test_there_are_as_many_tracks_as_people_each_at_the_place_of_its_person(
    tracks: dict[int, list[TrackedFace]], timeline: Timeline
) -> None:
    assert len(tracks) == timeline.tracks() == len(ACTORS)
    people = {number: person_of(track) for number, track in tracks.items()}
    assert {actor.number for actor in people.values()} == {actor.number for actor in ACTORS}
    for number, track in tracks.items():
        boxes = np.array([face.box for face in track], float)
        known = np.array([people[number].box(face.time_s) for face in track])
        shared = np.diagonal(overlaps(boxes, known))
        assert np.median(shared) > 0.8
        assert shared.min() > 0.6


def test_a_person_is_followed_for_as_long_as_the_person_is_there(
    tracks: dict[int, list[TrackedFace]],
) -> None:
    for track in tracks.values():
        actor = person_of(track)
        assert track[0].time_s == pytest.approx(actor.from_s, abs=0.41)
        assert track[-1].time_s == pytest.approx(actor.until_s, abs=0.61)
        expected = (actor.until_s - actor.from_s) * RATE / EVERY
        # Haar's cascade does not find the face in every frame.
        assert 0.9 * expected <= len(track) <= expected


# What


def test_the_smoothed_line_follows_the_expressions(tracks: dict[int, list[TrackedFace]]) -> None:
    """The mean follows a change with a delay of about its time constant: two of them after it, it has."""
    for track in tracks.values():
        actor = person_of(track)
        settled = CHANGE_S + 2 * TIME_CONSTANT_S
        right = [
            face.emotion == actor.emotion(face.time_s)
            for face in track
            if actor.emotion(face.time_s) == actor.emotion(max(actor.from_s, face.time_s - settled))
        ]
        assert len(right) > 30
        assert np.mean(right) > 0.8
        shown = [face.emotion for face in track]
        for _, label in actor.expressions:
            assert label in shown


def test_smoothed_probabilities_are_the_mean_of_the_given_ones(timeline: Timeline) -> None:
    """Computed again, from the columns of the file, with the recursion of the documentation."""
    table = pq.read_table(timeline.path).to_pandas()
    classes = timeline.facts.classes
    for _, rows in table.groupby("track"):
        given = rows[[f"p_{name}" for name in classes]].to_numpy(float)
        smooth = rows[[f"smooth_{name}" for name in classes]].to_numpy(float)
        expected, times = given[0], rows["time_s"].to_numpy()
        for index in range(1, len(rows)):
            weight = 1 - np.exp(-(times[index] - times[index - 1]) / TIME_CONSTANT_S)
            expected = expected + weight * (given[index] - expected)
            assert smooth[index] == pytest.approx(expected, abs=1e-5)
        assert rows["emotion"].tolist() == [classes[index] for index in smooth.argmax(axis=1)]
    assert np.abs(table[[f"smooth_{name}" for name in classes]].sum(axis=1) - 1).max() < 1e-5


def test_the_file_says_what_it_is_of(timeline: Timeline, clip: Clip, live: LiveModel) -> None:
    facts, table = timeline.facts, pq.read_table(timeline.path)
    assert (facts.clip, facts.width, facts.height) == ("clip.mp4", WIDTH, HEIGHT)
    assert (facts.rate, facts.every, facts.frames, facts.scored) == (RATE, EVERY, DURATION_S * RATE, SCORED)
    assert facts.duration_s == pytest.approx(DURATION_S)
    assert facts.missing_s == 0
    assert (facts.model, facts.version, facts.sample) == ("emotion", "3", True)
    plan = json.loads(table.schema.metadata[PLAN_KEY])
    assert plan["sha256"] == live.identity.sha256
    frames = table["frame"].to_numpy()
    assert set(frames) <= set(range(0, facts.frames, EVERY))
    assert (np.diff(frames) >= 0).all()
    assert table["time_s"].to_numpy() == pytest.approx(frames / RATE)
    assert "embedding" not in table.schema.names


# Runs


class Ended(Exception):
    pass


def begun(out: Path, clip: Clip, live: LiveModel, *, chunks: int) -> None:
    """A run that was ended after some chunks."""

    def tell(progress: ScoringProgress) -> None:
        if progress.done >= chunks * CHUNK:
            raise Ended

    with pytest.raises(Ended):
        score_clip(clip_scorer(live), clip, out, ClipOptions(chunk=CHUNK), notify=tell)


@pytest.mark.parametrize("chunks", [0, 1, 4])
def test_an_interrupted_run_comes_to_the_same_bytes(
    tmp_path: Path, clip: Clip, live: LiveModel, timeline: Timeline, chunks: int
) -> None:
    out = tmp_path / "timeline.parquet"
    begun(out, clip, live, chunks=chunks)
    assert len(list(Path(f"{out}.parts").glob("0*.parquet"))) == chunks
    updates: list[ScoringProgress] = []
    score_clip(clip_scorer(live, threads=3), clip, out, ClipOptions(chunk=CHUNK), notify=updates.append)
    assert out.read_bytes() == timeline.path.read_bytes()
    assert updates[0] == ScoringProgress(files=SCORED, done=chunks * CHUNK, failed=0)
    assert updates[-1] == ScoringProgress(files=SCORED, done=SCORED, failed=0)
    assert not Path(f"{out}.parts").exists()


PROGRAM = """
import sys
from pathlib import Path
from serving.score.video.clip import Clip
from serving.score.video.scoring import ClipOptions, score_clip
from tests.support.clips import clip_scorer, live_model
model, clip, out = map(Path, sys.argv[1:])
score_clip(clip_scorer(live_model(model)), Clip.open(clip, max_pixels=10**7), out, ClipOptions(chunk=2))
"""


def test_a_killed_run_comes_to_the_same_bytes(tmp_path: Path, path: Path) -> None:
    model = recorded_model(tmp_path / "model")
    command = [sys.executable, "-c", PROGRAM, str(model), str(path)]
    parts = tmp_path / "out.parquet.parts"
    with subprocess.Popen([*command, str(tmp_path / "out.parquet")], cwd=REPOSITORY) as process:
        deadline = time.monotonic() + PATIENCE_S
        while process.poll() is None and len(list(parts.glob("0*.parquet"))) < 5:
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    for name in ("out.parquet", "unbroken.parquet"):
        subprocess.run([*command, str(tmp_path / name)], cwd=REPOSITORY, check=True, timeout=PATIENCE_S)
    resumed, unbroken = (tmp_path / name for name in ("out.parquet", "unbroken.parquet"))
    assert resumed.read_bytes() == unbroken.read_bytes()


def test_a_finished_timeline_is_not_made_again(clip: Clip, live: LiveModel, timeline: Timeline) -> None:
    before = timeline.path.stat().st_mtime_ns
    updates: list[ScoringProgress] = []
    again = score_clip(
        clip_scorer(live), clip, timeline.path, ClipOptions(chunk=CHUNK), notify=updates.append
    )
    assert again.facts == timeline.facts
    assert (updates, timeline.path.stat().st_mtime_ns) == ([], before)


def test_other_options_or_another_clip_are_refused(
    tmp_path: Path, clip: Clip, live: LiveModel, timeline: Timeline
) -> None:
    with pytest.raises(OutputTaken):
        score_clip(clip_scorer(live), clip, timeline.path, ClipOptions(chunk=CHUNK, every=5))
    out = tmp_path / "timeline.parquet"
    begun(out, clip, live, chunks=1)
    for options, what in (
        (ClipOptions(chunk=CHUNK, every=5), "every"),
        (ClipOptions(chunk=CHUNK, time_constant_s=0.1), "time_constant_s"),
        (ClipOptions(chunk=CHUNK + 1), "chunk"),
    ):
        with pytest.raises(ScoringBegunOtherwise) as caught:
            score_clip(clip_scorer(live), clip, out, options)
        assert caught.value.what == what
    other = write_clip(tmp_path / "clip.mp4", draw_frames(ACTORS, 2, rate=RATE), rate=RATE)
    with pytest.raises(ScoringBegunOtherwise) as caught:
        score_clip(clip_scorer(live), Clip.open(other, max_pixels=MANY), out, ClipOptions(chunk=CHUNK))
    assert caught.value.what == "clip"


def test_a_clip_without_faces_has_an_empty_timeline(tmp_path: Path, live: LiveModel) -> None:
    path = write_clip(tmp_path / "clip.mp4", draw_frames((), 2, rate=RATE), rate=RATE)
    scorer = clip_scorer(live, embedding=True)
    timeline = score_clip(scorer, Clip.open(path, max_pixels=MANY), tmp_path / "out.parquet", ClipOptions())
    assert (list(timeline.faces()), timeline.tracks(), timeline.facts.scored) == ([], 0, 10)
    assert "embedding" in pq.read_schema(timeline.path).names


def test_only_a_few_frames_are_taken_ahead(clip: Clip, live: LiveModel) -> None:
    """However long a clip is, decoding waits for the workers."""
    taken: list[int] = []

    def frames() -> Iterator[Frame]:
        frame = next(clip.reader().frames())
        for number in range(80):
            taken.append(number)
            yield frame

    tables = find_faces(clip_scorer(live, threads=2), frames(), chunk=8)
    next(tables)
    assert len(taken) < 40
    assert len(list(tables)) == 9
    assert len(taken) == 80
