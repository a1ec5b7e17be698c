"""Who is woken, and how much each takes; with real threads and without any model."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from serving.errors.requests import NotReady, QueueFull
from serving.inference.batching import JobQueue, full_batch_size, piece_sizes

PATIENCE_S = 20.0
MODEL: Any = object()
OTHER: Any = object()


@dataclass(eq=False)
class Job:
    images: int = 1
    live: Any = MODEL


@dataclass
class Worker:
    """A thread that takes, and is busy until it is let go."""

    queue: JobQueue[Job]
    taken: list[list[Job]] = field(default_factory=list)
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def run(self) -> None:
        bell = threading.Lock()
        bell.acquire()
        while jobs := self.queue.take(bell):
            self.taken.append(jobs)
            assert self.go.acquire(timeout=PATIENCE_S)
            self.queue.done()


@contextmanager
def working(
    count: int, *, max_batch: int = 8, max_images: int = 100
) -> Iterator[tuple[JobQueue[Job], list[Worker]]]:
    queue: JobQueue[Job] = JobQueue(workers=count, largest=lambda live: max_batch, max_images=max_images)
    workers = [Worker(queue) for _ in range(count)]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for number, thread in enumerate(threads, 1):
        thread.start()
        until(lambda number=number: asleep(queue) == number)
    try:
        yield queue, workers
    finally:
        queue.close()
        for worker in workers:
            worker.go.release(100)
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def asleep(queue: JobQueue[Job]) -> int:
    return len(queue._sleeping)


def until(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def sizes(worker: Worker) -> list[int]:
    return [len(jobs) for jobs in worker.taken]


def test_the_worker_that_worked_last_works_next_and_the_others_sleep_on() -> None:
    with working(3) as (queue, workers):
        for number in range(1, 6):
            queue.put(Job())
            until(lambda number=number: len(workers[2].taken) == number)
            workers[2].go.release()
            until(lambda: asleep(queue) == 3)
        assert [sizes(worker) for worker in workers] == [[], [], [1] * 5]


def test_each_job_wakes_one_as_long_as_there_are_any() -> None:
    with working(2) as (queue, workers):
        queue.put(Job())
        until(lambda: workers[1].taken)
        queue.put(Job())
        until(lambda: workers[0].taken)
        queue.put(Job())
        assert queue.images == 1
        workers[1].go.release()
        until(lambda: len(workers[1].taken) == 2)
        assert queue.images == 0


@pytest.mark.parametrize(
    ("images", "expected"), [([1] * 3, [2, 1]), ([1] * 8, [8]), ([1] * 9, [8, 1]), ([2, 2, 1], [2, 1])]
)
def test_one_alone_takes_as_many_as_fill_a_batch(images: list[int], expected: list[int]) -> None:
    with working(1) as (queue, (worker,)):
        queue.put(Job())
        until(lambda: worker.taken)
        for count in images:
            queue.put(Job(images=count))
        worker.go.release(10)
        until(lambda: len(worker.taken) == 1 + len(expected))
        assert sizes(worker) == [1, *expected]


def test_idle_ones_share_and_busy_ones_do_not_count() -> None:
    with working(2) as (queue, workers):
        for worker in reversed(workers):
            queue.put(Job())
            until(lambda worker=worker: worker.taken)
        for _ in range(4):
            queue.put(Job())
        workers[0].go.release()
        until(lambda: len(workers[0].taken) == 2)
        assert sizes(workers[0]) == [1, 4]


def test_jobs_of_two_models_are_two_batches_in_order() -> None:
    with working(1) as (queue, (worker,)):
        queue.put(Job())
        until(lambda: worker.taken)
        for live in (MODEL, MODEL, OTHER, MODEL):
            queue.put(Job(live=live))
        worker.go.release(10)
        until(lambda: len(worker.taken) == 4)
        assert [[job.live for job in jobs] for jobs in worker.taken[1:]] == [[MODEL] * 2, [OTHER], [MODEL]]


def test_beyond_its_bound_it_refuses_and_one_larger_than_all_of_it_is_taken_alone() -> None:
    with working(1, max_images=3) as (queue, (worker,)):
        queue.put(Job())
        until(lambda: worker.taken)
        queue.put(Job(images=50))
        with pytest.raises(QueueFull, match="50 pictures are waiting, at most 3"):
            queue.put(Job())
        worker.go.release(10)
        until(lambda: len(worker.taken) == 2)
        assert queue.images == 0


def test_closed_it_hands_out_what_waits_and_takes_nothing_more() -> None:
    with working(1) as (queue, (worker,)):
        for _ in range(3):
            queue.put(Job())
        queue.close()
        with pytest.raises(NotReady, match="going down"):
            queue.put(Job())
        worker.go.release(10)
        until(lambda: sum(sizes(worker)) == 3)


@pytest.mark.parametrize(("images", "size"), [(0, 1), (1, 1), (3, 2), (4, 4), (15, 8), (64, 64), (200, 64)])
def test_batches_are_of_the_sizes_that_the_network_runs_in(images: int, size: int) -> None:
    assert full_batch_size(images) == size


def test_many_jobs_from_a_busy_producer_are_all_taken_once() -> None:
    queue: JobQueue[Job] = JobQueue(workers=3, largest=lambda live: 4, max_images=10_000)
    taken: list[Job] = []

    def work() -> None:
        bell = threading.Lock()
        bell.acquire()
        while jobs := queue.take(bell):
            taken.extend(jobs)
            queue.done()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    jobs = [Job() for _ in range(3000)]
    for job in jobs:
        queue.put(job)
    queue.close()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert len(taken) == 3000
    assert set(map(id, taken)) == set(map(id, jobs))


@pytest.mark.parametrize(("patience_s", "limit"), [(1.0, 160), (0.1, 16), (10.0, 1000), (math.inf, 1000)])
def test_no_more_wait_than_can_be_answered_before_the_deadline(patience_s: float, limit: int) -> None:
    # Two workers that take 10 ms for each picture answer 160 in 0.8 s.
    queue: JobQueue[Job] = JobQueue(workers=2, largest=lambda live: 8, max_images=1000)
    for _ in range(300):
        queue.done(image_s=0.01)
    for _ in range(limit):
        queue.put(Job(), patience_s=patience_s)
    with pytest.raises(QueueFull) as refused:
        queue.put(Job(), patience_s=patience_s)
    assert (refused.value.waiting, refused.value.limit) == (limit, limit)


def test_one_slow_batch_does_not_refuse_what_comes_alone() -> None:
    queue: JobQueue[Job] = JobQueue(workers=1, largest=lambda live: 8, max_images=100)
    queue.done(image_s=1000.0)
    queue.put(Job(), patience_s=1.0)
    assert queue.images == 1


def test_each_model_has_its_own_limit() -> None:
    limits = {id(MODEL): 2, id(OTHER): 4}
    queue: JobQueue[Job] = JobQueue(workers=1, largest=lambda live: limits[id(live)], max_images=100)
    for live in (MODEL, OTHER):
        for _ in range(4):
            queue.put(Job(live=live))
    taken = []
    for _ in range(3):
        taken.append(queue.take(threading.Lock()))
        queue.done()
    assert [(len(jobs), jobs[0].live is MODEL) for jobs in taken] == [(2, True), (2, True), (4, False)]


@pytest.mark.parametrize(
    ("images", "largest", "sizes"),
    [(0, 16, [1]), (1, 16, [1]), (5, 16, [4, 1]), (16, 16, [16]), (37, 16, [16, 16, 4, 1]), (10, 12, [8, 2])],
)
def test_pictures_run_in_full_batches(images: int, largest: int, sizes: list[int]) -> None:
    assert list(piece_sizes(images, largest)) == sizes
