"""Requests through the queue, on real ONNX sessions."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.contract.arrays import Image
from serving.errors.requests import DeadlinePassed, NotReady, QueueFull
from serving.inference.admission import admit
from serving.inference.batching import Batcher
from serving.inference.model_slot import LiveModel, ModelSlot
from serving.inference.onnx_classifier import BATCH_SIZES, OnnxClassifier, Prediction
from serving.inference.work import Timing
from tests.support.onnx_models import make_contract
from tests.support.serving_models import cached_folder, flat

DEADLINE_S = 20.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cached_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture
def slot(folder: Path) -> ModelSlot:
    slot = ModelSlot()
    slot.switch(admit(folder, threads=1, max_batch=4), "for the test")
    return slot


@asynccontextmanager
async def batcher(
    slot: ModelSlot,
    *,
    threads: int = 1,
    max_batch: int = 8,
    max_queue_images: int = 256,
    target_s: float | None = None,
) -> AsyncIterator[Batcher]:
    made = Batcher(
        slot, threads=threads, max_batch=max_batch, max_queue_images=max_queue_images, target_s=target_s
    )
    try:
        yield made
    finally:
        await made.close()


class Job:
    """A request that waits for `gate` while it is prepared."""

    def __init__(self, images: Image | None = None, *, gate: threading.Event | None = None) -> None:
        self.images = flat(0) if images is None else images
        self.gate = gate
        self.started = threading.Event()
        self.timing: Timing | None = None

    def prepare(self, live: LiveModel) -> Image:
        self.started.set()
        if self.gate is not None:
            assert self.gate.wait(DEADLINE_S)
        return self.images

    def finish(self, live: LiveModel, prediction: Prediction, timing: Timing) -> list[int]:
        self.timing = timing
        return [int(index) for index in prediction.probabilities.argmax(axis=1)]


class Failing(Job):
    """A request whose picture cannot be read, or whose answer cannot be made."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where

    def prepare(self, live: LiveModel) -> Image:
        if self._where == "prepare":
            raise KeyError("prepare")
        return super().prepare(live)

    def finish(self, live: LiveModel, prediction: Prediction, timing: Timing) -> list[int]:
        raise KeyError("finish")


def timing_of(job: Job) -> Timing:
    assert job.timing is not None
    return job.timing


async def started(job: Job) -> None:
    assert await asyncio.to_thread(job.started.wait, DEADLINE_S)


def test_each_request_gets_the_answers_to_its_own_pictures(slot: ModelSlot) -> None:
    async def scenario() -> list[list[int]]:
        jobs = [
            Job(np.concatenate([flat(index), flat((index + 1) % 7)]) if index % 2 else flat(index))
            for index in range(7)
        ]
        async with batcher(slot, threads=2, max_batch=4) as queue:
            return await asyncio.gather(*(queue.run(job, deadline_s=DEADLINE_S) for job in jobs))

    assert asyncio.run(scenario()) == [[0], [1, 2], [2], [3, 4], [4], [5, 6], [6]]


def test_what_waits_goes_together_and_what_comes_alone_does_not_wait(slot: ModelSlot) -> None:
    async def scenario() -> tuple[list[Job], list[Job], float]:
        gate = threading.Event()
        first, rest = Job(gate=gate), [Job(flat(index)) for index in range(6)]
        alone = [Job() for _ in range(20)]
        async with batcher(slot) as queue:
            running = [asyncio.ensure_future(queue.run(first, deadline_s=DEADLINE_S))]
            await started(first)
            running += [asyncio.ensure_future(queue.run(job, deadline_s=DEADLINE_S)) for job in rest]
            while queue.waiting < 6:
                await asyncio.sleep(0.01)
            since = time.monotonic()
            await asyncio.sleep(0.05)
            waited_s = time.monotonic() - since
            gate.set()
            assert await asyncio.gather(*running) == [[0], [0], [1], [2], [3], [4], [5]]
            assert queue.waiting == 0
            # Each is answered although no other one follows.
            for job in alone:
                await queue.run(job, deadline_s=DEADLINE_S)
            return [first, *rest], alone, waited_s

    jobs, alone, waited_s = asyncio.run(scenario())
    # Six would be padded to eight.
    assert [timing_of(job).batch for job in jobs] == [1, 4, 4, 4, 4, 2, 2]
    assert all(timing_of(job).queued_s >= waited_s for job in jobs[1:])
    assert {timing_of(job).batch for job in alone} == {1}


class Slow(Job):
    """A request whose picture takes 30 ms to prepare."""

    def prepare(self, live: LiveModel) -> Image:
        time.sleep(0.03)
        return super().prepare(live)


def test_batches_get_as_small_as_the_target_asks_for(folder: Path) -> None:
    slot = ModelSlot()
    slot.switch(admit(folder, threads=1, max_batch=8), "for the test")

    async def scenario() -> tuple[int, int, list[Slow]]:
        burst = [Slow(flat(index % 7)) for index in range(20)]
        # Two batches of 8 take 2 × 8 × 30 = 480 ms or more, two of 4 take 240.
        async with batcher(slot, target_s=0.4) as queue:
            before = queue.limit.of(slot.require())
            for _ in range(60):
                await queue.run(Slow(), deadline_s=DEADLINE_S)
            await asyncio.gather(*(queue.run(job, deadline_s=DEADLINE_S) for job in burst))
            return before, queue.limit.of(slot.require()), burst

    before, after, burst = asyncio.run(scenario())
    # The network alone takes less than a millisecond: at first nothing speaks against 8.
    assert (before, after) == (8, 4)
    assert max(timing_of(job).batch for job in burst) == 4


def test_a_queue_that_cannot_be_answered_in_time_is_refused_at_once(slot: ModelSlot) -> None:
    deadline_s, pictures = 3.0, 300

    async def scenario() -> list[BaseException | list[int]]:
        async with batcher(slot, max_queue_images=1000) as queue:
            for _ in range(60):
                await queue.run(Slow(), deadline_s=deadline_s)
            waiting = [queue.run(Slow(), deadline_s=deadline_s) for _ in range(pictures)]
            return await asyncio.gather(*waiting, return_exceptions=True)

    answers = asyncio.run(scenario())
    refused = [answer for answer in answers if isinstance(answer, QueueFull)]
    late = [answer for answer in answers if isinstance(answer, DeadlinePassed)]
    answered = pictures - len(refused) - len(late)
    # 30 ms for each, so 80 within 0.8 of the deadline; a busy machine does fewer. All 300 would take 9 s.
    assert 30 <= answered <= 90
    assert all(error.limit <= 80 for error in refused)
    assert len(late) < answered / 4


def test_a_request_larger_than_a_batch_or_than_the_queue_is_answered(slot: ModelSlot) -> None:
    async def scenario() -> Prediction:
        async with batcher(slot, max_batch=4, max_queue_images=4) as queue:
            images = np.concatenate([flat(index % 7) for index in range(70)])
            return await queue.predict(images, live=slot.require(), deadline_s=DEADLINE_S)

    prediction = asyncio.run(scenario())
    assert prediction.probabilities.argmax(axis=1).tolist() == [index % 7 for index in range(70)]
    assert prediction.heatmap.shape[0] == prediction.embedding.shape[0] == 70


@pytest.mark.parametrize(("count", "max_batch"), [(1, 8), (2, 2), (5, 8), (7, 4), (8, 8), (20, 12)])
def test_a_batch_is_full_for_any_number_of_pictures(
    slot: ModelSlot, count: int, max_batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what reaches ONNX Runtime: nothing is padded, and nothing is larger than allowed."""
    sizes: list[int] = []
    run = OnnxClassifier.predict

    def counting(self: OnnxClassifier, batch: Image) -> Prediction:
        sizes.append(len(batch))
        return run(self, batch)

    monkeypatch.setattr(OnnxClassifier, "predict", counting)

    async def scenario() -> Prediction:
        async with batcher(slot, max_batch=max_batch) as queue:
            images = np.concatenate([flat(index % 7) for index in range(count)])
            return await queue.predict(images, live=slot.require(), deadline_s=DEADLINE_S)

    prediction = asyncio.run(scenario())
    assert prediction.probabilities.argmax(axis=1).tolist() == [index % 7 for index in range(count)]
    assert sum(sizes) == count
    assert set(sizes) <= set(BATCH_SIZES)
    assert max(sizes) <= max_batch


def test_idle_workers_share_what_waits_and_a_busy_one_is_not_waited_for(slot: ModelSlot) -> None:
    async def scenario() -> tuple[list[int], list[int]]:
        gate, other = threading.Event(), threading.Event()
        async with batcher(slot, threads=2, max_batch=8) as queue:
            first, second = Job(gate=gate), Job(gate=other)
            running = [
                asyncio.ensure_future(queue.run(job, deadline_s=DEADLINE_S)) for job in (first, second)
            ]
            await asyncio.gather(started(first), started(second))
            waiting = [Job(flat(index)) for index in range(4)]
            running += [asyncio.ensure_future(queue.run(job, deadline_s=DEADLINE_S)) for job in waiting]
            await asyncio.sleep(0.01)
            # One is still busy: the other takes everything.
            gate.set()
            await asyncio.gather(running[0], *running[2:])
            alone = [job.timing.batch for job in waiting if job.timing is not None]
            other.set()
            await running[1]
            both = [Job(flat(index)) for index in range(4)]
            await asyncio.sleep(0.1)
            await asyncio.gather(*(queue.run(job, deadline_s=DEADLINE_S) for job in both))
            return alone, [job.timing.batch for job in both if job.timing is not None]

    alone, both = asyncio.run(scenario())
    assert alone == [4, 4, 4, 4]
    assert max(both) <= 2


def test_a_request_without_any_picture_gets_an_empty_answer(slot: ModelSlot) -> None:
    async def scenario() -> Prediction:
        async with batcher(slot) as queue:
            return await queue.predict(flat(0, count=0), live=slot.require(), deadline_s=DEADLINE_S)

    assert asyncio.run(scenario()).probabilities.shape == (0, 7)


def test_a_full_queue_turns_requests_away_and_recovers(slot: ModelSlot) -> None:
    async def scenario() -> None:
        gate = threading.Event()
        first = Job(gate=gate)
        async with batcher(slot, max_queue_images=3) as queue:
            running = [asyncio.ensure_future(queue.run(first, deadline_s=DEADLINE_S))]
            await started(first)
            running += [asyncio.ensure_future(queue.run(Job(), deadline_s=DEADLINE_S)) for _ in range(3)]
            await asyncio.sleep(0.01)
            with pytest.raises(QueueFull, match="3 pictures are waiting, at most 3") as caught:
                await queue.run(Job(), deadline_s=DEADLINE_S)
            assert caught.value.retry_after_s > 0
            gate.set()
            await asyncio.gather(*running)
            assert await queue.run(Job(flat(5)), deadline_s=DEADLINE_S) == [5]

    asyncio.run(scenario())


def test_a_late_request_fails_at_its_deadline_and_is_not_computed(slot: ModelSlot) -> None:
    async def scenario() -> Job:
        gate = threading.Event()
        first, late = Job(gate=gate), Job()
        async with batcher(slot) as queue:
            running = asyncio.ensure_future(queue.run(first, deadline_s=DEADLINE_S))
            await started(first)
            with pytest.raises(DeadlinePassed, match=r"within 0\.1 s"):
                await queue.run(late, deadline_s=0.1)
            assert not running.done()
            gate.set()
            assert await running == [0]
            assert await queue.run(Job(), deadline_s=DEADLINE_S) == [0]
            return late

    late = asyncio.run(scenario())
    assert not late.started.is_set()


def test_a_client_that_went_away_costs_nothing(slot: ModelSlot) -> None:
    async def scenario() -> Job:
        gate = threading.Event()
        first, gone = Job(gate=gate), Job()
        async with batcher(slot) as queue:
            running = asyncio.ensure_future(queue.run(first, deadline_s=DEADLINE_S))
            await started(first)
            leaving = asyncio.ensure_future(queue.run(gone, deadline_s=DEADLINE_S))
            await asyncio.sleep(0.01)
            leaving.cancel()
            gate.set()
            assert await running == [0]
            return gone

    assert not asyncio.run(scenario()).started.is_set()


@pytest.mark.parametrize("where", ["prepare", "finish"])
def test_one_bad_request_does_not_fail_those_beside_it(slot: ModelSlot, where: str) -> None:
    async def scenario() -> list[object]:
        gate = threading.Event()
        first = Job(gate=gate)
        async with batcher(slot) as queue:
            running = [asyncio.ensure_future(queue.run(first, deadline_s=DEADLINE_S))]
            await started(first)
            for job in (Job(flat(2)), Failing(where), Job(flat(4))):
                running.append(asyncio.ensure_future(queue.run(job, deadline_s=DEADLINE_S)))
            await asyncio.sleep(0.01)
            gate.set()
            return list(await asyncio.gather(*running, return_exceptions=True))

    [_, before, bad, after] = asyncio.run(scenario())
    assert (before, after) == ([2], [4])
    assert isinstance(bad, KeyError)
    assert bad.args == (where,)


def test_pictures_of_another_size_are_their_senders_error(slot: ModelSlot) -> None:
    async def scenario() -> None:
        async with batcher(slot) as queue:
            with pytest.raises(ValueError, match=r"expected uint8 \[n, 16, 16, 3\]"):
                await queue.predict(flat(0, side=8), live=slot.require(), deadline_s=DEADLINE_S)
            floating: Any = flat(0).astype(np.float32)
            with pytest.raises(ValueError, match="got float32"):
                await queue.predict(floating, live=slot.require(), deadline_s=DEADLINE_S)

    asyncio.run(scenario())


def test_requests_in_flight_are_answered_by_the_model_they_came_for(slot: ModelSlot, tmp_path: Path) -> None:
    """The second model takes pictures of another size: any mixing would fail, not only be wrong."""
    other = cached_folder(tmp_path / "b", version="2", contract=make_contract(side=32))

    class Sized(Job):
        def prepare(self, live: LiveModel) -> Image:
            super().prepare(live)
            return flat(3, side=live.contract.input.height)

        def finish(self, live: LiveModel, prediction: Prediction, timing: Timing) -> list[int]:
            return [*super().finish(live, prediction, timing), int(live.identity.version), timing.batch]

    async def scenario() -> list[list[int]]:
        gate = threading.Event()
        first = Sized(gate=gate)
        async with batcher(slot) as queue:
            running = [asyncio.ensure_future(queue.run(first, deadline_s=DEADLINE_S))]
            await started(first)
            running += [asyncio.ensure_future(queue.run(Sized(), deadline_s=DEADLINE_S)) for _ in range(2)]
            await asyncio.sleep(0.01)
            slot.switch(admit(other, threads=1, max_batch=4), "promoted")
            running += [asyncio.ensure_future(queue.run(Sized(), deadline_s=DEADLINE_S)) for _ in range(3)]
            await asyncio.sleep(0.01)
            gate.set()
            return list(await asyncio.gather(*running))

    assert asyncio.run(scenario()) == [[3, 1, 1], *[[3, 1, 2]] * 2, *[[3, 2, 2]] * 2, [3, 2, 1]]


@pytest.mark.parametrize(
    "make",
    [Job, lambda: Failing("prepare"), lambda: Failing("finish")],
    ids=["answered", "bad", "unanswerable"],
)
def test_replaced_model_is_freed_at_once(folder: Path, tmp_path: Path, make: Callable[[], Job]) -> None:
    """Also after an error, whose traceback could keep the model alive; the garbage collector is off."""
    slot = ModelSlot()
    slot.switch(admit(folder, threads=1, max_batch=4), "first")
    session = weakref.ref(slot.require().classifier)
    new = admit(cached_folder(tmp_path / "b", version="2", seed=1), threads=1, max_batch=4)

    async def scenario() -> bool:
        async with batcher(slot) as queue:
            for _ in range(3):
                with suppress(KeyError):
                    await queue.run(make(), deadline_s=DEADLINE_S)
            slot.switch(new, "second")
            await queue.run(Job(), deadline_s=DEADLINE_S)
            return session() is None

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(scenario())
    finally:
        gc.enable()


def test_going_down_answers_what_waits_and_takes_nothing_more(slot: ModelSlot) -> None:
    async def scenario() -> None:
        gate = threading.Event()
        first, waiting = Job(gate=gate), [Job(flat(index)) for index in range(3)]
        queue = Batcher(slot, threads=1, max_batch=1)
        running = [asyncio.ensure_future(queue.run(job, deadline_s=DEADLINE_S)) for job in (first, *waiting)]
        await started(first)
        closing = asyncio.ensure_future(queue.close())
        await asyncio.sleep(0.01)
        with pytest.raises(NotReady, match="going down"):
            await queue.run(Job(), deadline_s=DEADLINE_S)
        gate.set()
        await closing
        assert await asyncio.gather(*running) == [[0], [0], [1], [2]]

    before = threading.active_count()
    asyncio.run(scenario())
    assert threading.active_count() <= before


def test_without_a_model_the_reason_is_raised() -> None:
    async def scenario() -> None:
        async with batcher(ModelSlot()) as queue:
            with pytest.raises(NotReady, match="starting"):
                await queue.run(Job(), deadline_s=DEADLINE_S)

    asyncio.run(scenario())


def test_exchanges_under_load_fail_nothing_and_answer_with_what_was_live(
    slot: ModelSlot, tmp_path: Path
) -> None:
    """Every answer's model was live at some moment between the request and its answer."""
    folders = [cached_folder(tmp_path / str(seed), version=str(seed), seed=seed) for seed in (1, 2)]

    class Versioned(Job):
        def finish(self, live: LiveModel, prediction: Prediction, timing: Timing) -> list[int]:
            return [*super().finish(live, prediction, timing), id(live)]

    async def scenario() -> int:
        ending = asyncio.Event()
        answers = 0
        live_since: list[tuple[float, LiveModel]] = [(0.0, slot.require())]

        async def client(index: int) -> None:
            nonlocal answers
            while not ending.is_set():
                asked = time.monotonic()
                label, answered_by = await queue.run(Versioned(flat(index)), deadline_s=DEADLINE_S)
                assert label == index
                last = max(i for i, (since, _) in enumerate(live_since) if since <= asked)
                assert answered_by in [id(model) for _, model in live_since[last:]]
                answers += 1

        def exchange() -> None:
            for number in range(10):
                model = admit(folders[number % 2], threads=1, max_batch=4)
                live_since.append((time.monotonic(), model))
                slot.switch(model, "promoted")

        async with batcher(slot, threads=2) as queue:
            clients = [asyncio.ensure_future(client(index % 7)) for index in range(8)]
            await asyncio.to_thread(exchange)
            ending.set()
            await asyncio.gather(*clients)
        return answers

    assert asyncio.run(scenario()) > 20
