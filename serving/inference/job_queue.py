"""The queue of requests: who is woken, and how much each worker takes.

    queue = JobQueue(workers=2, largest=lambda live: 16, max_images=256)
    queue.put(job)                # in the event loop
    jobs = queue.take(bell)       # in a worker thread

The network runs in a few sizes only (`BATCH_SIZES`) and what lies between is padded: 5 pictures cost as much
as 8. So as many are taken as one size holds, and what is left over is the next batch: 4 and 1.

Of several idle workers the queue wakes the one that worked last: its memory and its processor's caches still
hold the data that the next batch needs. Under low load the others stay asleep.
"""

from __future__ import annotations

import threading
from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from serving.errors.requests import NotReady, QueueFull
from serving.inference.model_slot import LiveModel
from serving.inference.onnx_classifier import BATCH_SIZES


class Job(Protocol):
    """A request in the queue."""

    @property
    def images(self) -> int:
        """Expected number of pictures."""

    @property
    def live(self) -> LiveModel:
        """The model that answers the request."""


J = TypeVar("J", bound=Job)


class JobQueue(Generic[J]):
    """Bounded queue between the event loop, which adds jobs, and the worker threads, which take them."""

    def __init__(self, *, workers: int, largest: Callable[[LiveModel], int], max_images: int) -> None:
        """Create an empty queue.

        Args:
            workers: number of threads that call `take`.
            largest: maximum number of pictures of a model that one of them takes at once.
            max_images: maximum number of waiting pictures; further jobs are refused.
        """
        self._largest = largest
        self._limit = max_images
        self._lock = threading.Lock()
        self._waiting: deque[J] = deque()
        self._sleeping: list[threading.Lock] = []
        self._idle = workers
        self._closed = False
        self.images = 0
        """Number of waiting pictures."""

    def put(self, job: J) -> None:
        """Add a job.

        Raises:
            NotReady: the service is shutting down.
            QueueFull: too many pictures wait already.
        """
        with self._lock:
            if self._closed:
                raise NotReady(reason="the service is going down; send the request to another replica")
            # A job that is larger than the whole queue is accepted when nothing else waits.
            if self._waiting and self.images + job.images > self._limit:
                raise QueueFull(waiting=self.images, limit=self._limit)
            self._waiting.append(job)
            self.images += job.images
            bell = self._sleeping.pop() if self._sleeping else None
        if bell is not None:
            bell.release()

    def take(self, bell: threading.Lock) -> list[J]:
        """Wait for the next batch of one model's jobs, in order; empty when the queue is closed and drained.

        Args:
            bell: the worker's own lock, which it holds.
        """
        while True:
            with self._lock:
                if self._waiting or self._closed:
                    jobs = self._batch()
                    self._idle -= 1
                    return jobs
                self._sleeping.append(bell)
            bell.acquire()

    def done(self) -> None:
        """Mark a worker as idle after its batch."""
        with self._lock:
            self._idle += 1

    def close(self) -> None:
        """Refuse new jobs; waiting jobs are still handed out."""
        with self._lock:
            self._closed = True
            sleeping, self._sleeping = self._sleeping, []
        for bell in sleeping:
            bell.release()

    def _batch(self) -> list[J]:
        jobs: list[J] = []
        if not self._waiting:
            return jobs
        # Shared among the idle workers: the busy ones take jobs that arrive later.
        largest = self._largest(self._waiting[0].live)
        share = full_batch_size(min(largest, -(-self.images // self._idle)))
        taken = 0
        while self._waiting:
            job = self._waiting[0]
            if jobs and (taken + job.images > share or job.live is not jobs[0].live):
                break
            jobs.append(self._waiting.popleft())
            taken += job.images
        self.images -= taken
        return jobs


def full_batch_size(images: int) -> int:
    """Return the largest batch size that this number of pictures fills, at least 1."""
    return BATCH_SIZES[bisect(BATCH_SIZES, max(images, 1)) - 1]


def piece_sizes(images: int, largest: int) -> Iterator[int]:
    """Yield the sizes of the batches in which this number of pictures runs; at least one."""
    while True:
        size = full_batch_size(min(images, largest))
        yield size
        images -= size
        if images <= 0:
            return
