"""The candidate's turn and the live model's, with real models and queues: late, busy, cancelled, paused."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from serving.contract import Image
from serving.detection.routing import Turn, route_request
from serving.errors import ImageError
from serving.errors.requests import DeadlinePassed
from serving.experiments.canary import Canary, CanaryOutcome
from serving.experiments.shared_state import JOURNAL, CanaryJournal
from serving.inference.admission import admit
from serving.inference.batching import Batcher
from serving.inference.model_slot import LiveModel, ModelSlot
from serving.inference.onnx_classifier import Prediction
from serving.inference.work import Timing
from serving.observations.records import Observation
from tests.support.serving_models import cached_folder, flat
from tests.support.switches import RecordedSwitches

Switch = tuple[str | None, str, str]


class RecordingListener(RecordedSwitches):
    """Remembers what was counted and written."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[CanaryOutcome] = []
        self.trips = 0
        self.recorded: list[str] = []

    def canary(self, outcome: CanaryOutcome) -> None:
        self.outcomes.append(outcome)

    def trip(self) -> None:
        self.trips += 1

    def record(self, observation: Observation, *, live: LiveModel, data: bytes | None) -> None:
        self.recorded.append(live.identity.version)


class Work:
    """Answers with the version of the model that answered; what happens before is the test's to say."""

    def __init__(self, turn: Turn, before: Callable[[LiveModel], None]) -> None:
        self._turn = turn
        self._before = before

    def prepare(self, live: LiveModel) -> Image:
        self._before(live)
        return flat(3)

    def finish(self, live: LiveModel, prediction: Prediction, timing: Timing) -> str:
        self._turn.cost_s = 0.001
        return live.identity.version


def model(folder: Path, version: str) -> LiveModel:
    return admit(cached_folder(folder, version=version, seed=int(version)), threads=1, max_batch=2)


class World:
    """Version 1 is live, version 2 is the candidate and answers everybody."""

    def __init__(self, folder: Path, *, queue: int = 8, threads: int = 1) -> None:
        self.folder = folder
        self.live, self.candidate = ModelSlot(), ModelSlot()
        self.live.switch(model(folder / "1", "1"), "test")
        self.candidate.switch(model(folder / "2", "2"), "test")
        self.listener = RecordingListener()
        self.batcher = Batcher(self.live, threads=threads)
        self.its_batcher = Batcher(self.candidate, threads=threads, max_queue_images=queue)
        self.absent = False
        self.canary = self.worker()
        self.canary.look()

    def worker(self) -> Canary:
        """Another one that shares the journal."""
        return Canary(
            share=1.0, location="models:/emotion@candidate", live=self.live, candidate=self.candidate,
            absent=lambda: self.absent, batcher=self.its_batcher, journal=CanaryJournal(self.folder),
            history=self.listener, listener=self.listener, max_slowdown=3.0, pause_s=3600.0,
        )  # fmt: skip

    async def answer(self, before: Callable[[LiveModel], None], *, timeout_s: float = 60.0) -> str:
        return await route_request(
            self.canary, self.canary.choose("anybody"), lambda turn: Work(turn, before),
            batcher=self.batcher, sink=self.listener, shadow=None, timeout_s=timeout_s, live=None,
        )  # fmt: skip

    async def close(self) -> None:
        await self.canary.close()
        await self.batcher.close()


def run(folder: Path, test: Callable[[World], Awaitable[None]], **options: int) -> World:
    async def inside() -> World:
        world = World(folder, **options)
        try:
            await test(world)
        finally:
            await world.close()
        return world

    return asyncio.run(inside())


def nothing(live: LiveModel) -> None:
    """The model answers at once."""


def only(version: str, event: Callable[[], object]) -> Callable[[LiveModel], None]:
    """Something that happens to one of the models."""

    def before(live: LiveModel) -> None:
        if live.identity.version == version:
            event()

    return before


def fail() -> None:
    raise ValueError("it cannot")


def test_the_candidate_answers_its_share(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        assert await world.answer(nothing) == "2"

    assert run(tmp_path, test).listener.outcomes == ["answered"]


def test_one_that_fails_leaves_the_answer_to_the_live_model(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        assert await world.answer(only("2", fail)) == "1"

    assert run(tmp_path, test).listener.outcomes == ["failed"]


def test_one_that_takes_too_long_leaves_time_for_the_live_model(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        done = threading.Event()
        begun = time.monotonic()
        answer = await world.answer(only("2", lambda: done.wait(60)), timeout_s=4.0)
        assert answer == "1"
        # Half of the time was the candidate's; had none been left, the live model would not have answered.
        assert time.monotonic() - begun >= 2.0
        done.set()

    assert run(tmp_path, test).listener.outcomes == ["late"]


def test_one_that_hangs_keeps_no_other_request_waiting(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        done, stuck = threading.Event(), threading.Event()

        def hang() -> None:
            stuck.set()
            done.wait(60)

        # Its one thread is taken, and its queue of one picture full.
        first = asyncio.create_task(world.answer(only("2", hang)))
        await asyncio.to_thread(stuck.wait, 60)
        second = asyncio.create_task(world.answer(nothing))
        await asyncio.sleep(0)
        assert await world.answer(nothing) == "1"
        done.set()
        assert [await first, await second] == ["2", "2"]

    world = run(tmp_path, test, queue=1)
    assert world.listener.outcomes == ["busy", "answered", "answered"]
    assert world.listener.trips == 0


def test_a_fault_of_the_picture_is_answered_at_once(tmp_path: Path) -> None:
    def refuse(live: LiveModel) -> None:
        raise ImageError("no picture")

    async def test(world: World) -> None:
        with pytest.raises(ImageError):
            await world.answer(refuse)

    assert run(tmp_path, test).listener.outcomes == []


def test_when_both_fail_the_error_is_the_live_models(tmp_path: Path) -> None:
    def fail_both(live: LiveModel) -> None:
        raise ValueError(f"version {live.identity.version}")

    async def test(world: World) -> None:
        with pytest.raises(ValueError, match="version 1"):
            await world.answer(fail_both)
        with pytest.raises(DeadlinePassed):
            await world.answer(lambda live: time.sleep(0.2), timeout_s=0.01)

    run(tmp_path, test)


def test_a_client_that_goes_away_is_not_a_failure(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        done = threading.Event()
        asking = asyncio.create_task(world.answer(only("2", lambda: done.wait(60))))
        await asyncio.sleep(0.05)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        done.set()

    assert run(tmp_path, test).listener.outcomes == []


def test_a_pause_of_one_worker_is_seen_by_the_others_and_recorded_once(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        other = world.worker()
        other.look()
        assert other.choose("anybody") is not None
        for _ in range(5):
            assert await world.answer(only("2", fail)) == "1"
        # At once here, and with its next look there.
        assert world.canary.choose("anybody") is None
        world.canary.look()
        other.look()
        assert other.choose("anybody") is None
        assert world.canary.status == other.status
        assert other.status.state == "paused"

    listener = run(tmp_path, test).listener
    reason = "it failed at 5 of its last 5 requests, at last: it cannot"
    assert listener.switches == [
        ("1", "2", "canary starts: 100% of the requests are answered by version 2"),
        ("2", "1", f"canary is paused for 3600 s: {reason}"),
    ]
    assert listener.trips == 1


def test_between_a_switch_and_the_next_look_the_live_model_answers(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.live.switch(model(tmp_path / "3", "3"), "promoted")
        assert await world.answer(nothing) == "3"
        world.canary.look()
        assert await world.answer(nothing) == "2"
        world.candidate.switch(model(tmp_path / "4", "4"), "another")
        assert await world.answer(nothing) == "3"
        world.canary.look()
        assert await world.answer(nothing) == "4"

    listener = run(tmp_path, test).listener
    assert [switch[:2] for switch in listener.switches] == [("1", "2"), ("3", "4")]


def test_an_alias_that_is_taken_away_stops_it(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.absent = True
        world.canary.look()
        assert world.canary.choose("anybody") is None

    listener = run(tmp_path, test).listener
    assert listener.switches[-1] == ("2", "1", "canary stops: models:/emotion@candidate names no model")


def test_a_shared_state_that_cannot_be_written_does_not_prevent_a_pause(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        # A folder where the lock should be: it cannot be opened for writing, also not by root.
        (tmp_path / f"{JOURNAL}.lock").unlink()
        (tmp_path / f"{JOURNAL}.lock").mkdir()
        for _ in range(5):
            assert await world.answer(only("2", fail)) == "1"
        world.canary.look()
        assert world.canary.status.state == "paused"
        assert await world.answer(nothing) == "1"

    listener = run(tmp_path, test).listener
    assert [reason.partition(":")[0] for _, _, reason in listener.switches] == [
        "canary starts",
        "canary is paused for 3600 s",
    ]


def test_only_the_answer_that_was_given_is_recorded(tmp_path: Path) -> None:
    """Through the real detector, whose work records before the batch is settled."""
    from serving.detection.detector import Detector, Options
    from serving.detection.detectors import Detectors
    from serving.detection.image_reader import PictureReader
    from tests.support.http_service import picture_of

    async def test(world: World) -> None:
        reader = PictureReader(Detectors("none", face_model=None), max_pixels=10**6, max_faces=1, margin=0.0)
        detector = Detector(world.batcher, reader, world.listener, timeout_s=60.0, canary=world.canary)
        given = await detector.detect(picture_of(3), Options(), subject="anybody")
        assert (given.model.version, given.model.canary) == ("2", True)
        given = await detector.detect(picture_of(3), Options())
        assert (given.model.version, given.model.canary) == ("1", False)
        candidate = world.candidate.require()
        candidate.classifier.predict = _broken  # type: ignore[method-assign,assignment] # a model that fails only from now on
        given = await detector.detect(picture_of(3), Options(), subject="anybody")
        assert (given.model.version, given.model.canary) == ("1", False)

    assert run(tmp_path, test).listener.recorded == ["2", "1", "1"]


def _broken(batch: Image) -> Prediction:
    """NaN, as a network gives whose weights overflow for some pictures."""
    count = len(batch)
    return Prediction(
        probabilities=np.full((count, 7), np.nan, np.float32),
        heatmap=np.zeros((count, 4, 4), np.float32),
        embedding=np.zeros((count, 6), np.float32),
    )
