"""The bounded queue between the event loop and the worker threads: who is woken, and how much each takes.

Of several idle workers the one that worked last is woken: its memory and its processor's caches still hold
what the next batch needs. Under little load the others sleep on.
"""

from __future__ import annotations

import threading
from bisect import bisect
from collections import deque
from typing import Generic, Protocol, TypeVar

from serving.errors import NotReady, QueueFull
from serving.inference import BATCH_SIZES
from serving.runtime.live import LiveModel


class Job(Protocol):
    """What waits."""

    @property
    def images(self) -> int:
        """Pictures that it will probably have."""

    @property
    def live(self) -> LiveModel:
        """The model that is to answer."""


J = TypeVar("J", bound=Job)


class JobQueue(Generic[J]):
    """Filled by one thread, emptied by several."""

    def __init__(self, *, workers: int, max_batch: int, max_images: int) -> None:
        """Be empty.

        Args:
            workers: threads that will call `take`.
            max_batch: pictures that one of them takes at once.
            max_images: that may wait; beyond it jobs are turned away.
        """
        self._max_batch = max_batch
        self._limit = max_images
        self._lock = threading.Lock()
        self._waiting: deque[J] = deque()
        self._sleeping: list[threading.Lock] = []
        self._idle = workers
        self._closed = False
        self.images = 0
        """Pictures that wait."""

    def put(self, job: J) -> None:
        """Add one.

        Raises:
            NotReady: the service is going down.
            QueueFull: too many pictures wait already.
        """
        with self._lock:
            if self._closed:
                raise NotReady(reason="the service is going down; send the request to another replica")
            # One that is larger than the whole queue is served when nothing else waits.
            if self._waiting and self.images + job.images > self._limit:
                raise QueueFull(waiting=self.images, limit=self._limit)
            self._waiting.append(job)
            self.images += job.images
            bell = self._sleeping.pop() if self._sleeping else None
        if bell is not None:
            bell.release()

    def take(self, bell: threading.Lock) -> list[J]:
        """Wait for the next batch of one model's jobs, in order; empty when all is done and the queue closed.

        Args:
            bell: the worker's own, held by it.
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
        """A worker has finished what it took."""
        with self._lock:
            self._idle += 1

    def close(self) -> None:
        """Take nothing more; what waits is still handed out."""
        with self._lock:
            self._closed = True
            sleeping, self._sleeping = self._sleeping, []
        for bell in sleeping:
            bell.release()

    def _batch(self) -> list[J]:
        # Shared among those that have nothing to do: the busy ones find what comes meanwhile.
        share = whole(min(self._max_batch, -(-self.images // self._idle)))
        jobs: list[J] = []
        taken = 0
        while self._waiting:
            job = self._waiting[0]
            if jobs and (taken + job.images > share or job.live is not jobs[0].live):
                break
            jobs.append(self._waiting.popleft())
            taken += job.images
        self.images -= taken
        return jobs


def whole(images: int) -> int:
    """The largest batch size that so many pictures fill, at least 1."""
    return BATCH_SIZES[bisect(BATCH_SIZES, max(images, 1)) - 1]
