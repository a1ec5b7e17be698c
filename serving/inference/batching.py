"""Requests to batches: a bounded queue, a few worker threads, and no wait when a worker is idle.

    batcher = Batcher(slot, threads=2, max_batch=16, max_queue_images=256)
    answer = await batcher.run(work, deadline_s=5.0)     # Work: bytes → pictures, prediction → answer
    await batcher.close()

A worker takes what waits at that moment (shared with those that are idle too, at most `max_batch` pictures,
fewer for a latency target: `BatchLimit`), lets each request prepare its pictures, runs the network, and lets
each request make its answer: one hop from the event loop to a thread and one back for every kind of request.
Decoding, ONNX Runtime and OpenCV release the GIL.

The network runs in a few sizes only (`BATCH_SIZES`) and what lies between is padded: 5 pictures cost as much
as 8. So as many are taken as one size holds, and what is left over is the next batch: 4 and 1.

A request keeps the model that was live when it came. Its pictures are prepared with that model's contract
and batched only with requests of the same model, so a promotion in between can mix nothing up.

Of several idle workers the queue wakes the one that worked last: its memory and its processor's caches still
hold the data that the next batch needs. Under low load the others stay asleep.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from serving.contract.arrays import Image
from serving.errors import ModelTimeout
from serving.errors.requests import DeadlinePassed, NotReady, QueueFull
from serving.inference.batch_limit import NEWEST, BatchLimit, Turn
from serving.inference.model_slot import LiveModel, ModelSlot
from serving.inference.onnx_classifier import BATCH_SIZES, Prediction, join_predictions
from serving.inference.watchdog import WATCHDOG, call_when_lost
from serving.inference.work import Job, PreparedTensors, Timing, Work

J = TypeVar("J", bound=Job)


# Of the time until a job's deadline. The rest is for the batch that runs, for its own one, and for batches
# that take longer than the last ones.
_WAITABLE = 0.8


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
        self._workers = self._idle = workers
        self._image_s = 0.0
        self._closed = False
        self.images = 0
        """Number of waiting pictures."""

    def put(self, job: J, *, patience_s: float = math.inf) -> None:
        """Add a job.

        Args:
            job: added behind those that wait.
            patience_s: time until its deadline.

        Raises:
            NotReady: the service is shutting down.
            QueueFull: too many pictures wait already, or more than will be answered before the deadline.
        """
        with self._lock:
            if self._closed:
                raise NotReady(reason="the service is going down; send the request to another replica")
            limit = self._limit
            if self._image_s * limit > _WAITABLE * patience_s * self._workers:
                limit = int(_WAITABLE * patience_s * self._workers / self._image_s)
            # A job that is larger than the whole queue is accepted when nothing else waits.
            if self._waiting and self.images + job.images > limit:
                raise QueueFull(waiting=self.images, limit=limit)
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

    def done(self, *, image_s: float | None = None) -> None:
        """Mark a worker as idle after its batch, which took `image_s` for each picture; None: not known."""
        with self._lock:
            self._idle += 1
            if image_s is not None:
                self._image_s += NEWEST * (image_s - self._image_s)

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


R = TypeVar("R")

_log = logging.getLogger(__name__)
# ONNX Runtime ends a cancelled run between two operators; the process may end without the rest.
_END_S = 1.0


@dataclass(kw_only=True, eq=False)
class _Job(Generic[R]):
    work: Work[R]
    live: LiveModel
    images: int
    future: asyncio.Future[R]
    loop: asyncio.AbstractEventLoop
    came: float
    deadline: float
    deadline_s: float
    result: R | None = None
    error: BaseException | None = None
    prepare_s: float = 0.0

    def settle(self) -> None:
        """Set the result of the future, unless its caller has given up; called in the event loop."""
        future, error = self.future, self.error
        # The error's traceback holds frames that hold this job. If the job held the error, itself or in the
        # future, this cycle would keep an old model alive until the next garbage collection.
        del self.future
        self.error = None
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(self.result)  # type: ignore[arg-type] # R may itself be None


class Batcher:
    """Runs requests on the live model; made and used within one event loop."""

    def __init__(
        self,
        slot: ModelSlot,
        *,
        threads: int,
        max_batch: int = 16,
        max_queue_images: int = 256,
        target_s: float | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        """Start the worker threads.

        Args:
            slot: slot of the live model.
            threads: number of workers, each running one batch at a time.
            max_batch: maximum number of pictures in one run.
            max_queue_images: maximum number of waiting pictures; further requests are refused.
            target_s: seconds from a request's arrival to its answer that the size of batches should allow;
                None: `max_batch` alone limits it.
            on_batch: called in a worker thread with the number of pictures of each turn.
        """
        self._on_batch = on_batch
        self._slot = slot
        self.limit = BatchLimit(most=max_batch, target_s=target_s)
        """Maximum number of pictures that a worker takes at once."""
        self._queue: JobQueue[_Job[Any]] = JobQueue(
            workers=threads,
            largest=self.limit.of if target_s is not None else lambda live: max_batch,
            max_images=max_queue_images,
        )
        self._last_deadline = 0.0
        self._workers: list[threading.Thread] = []
        for _ in range(threads):
            self._start_worker()

    def _start_worker(self) -> None:
        worker = threading.Thread(target=self._serve, name=f"batch-{len(self._workers)}", daemon=True)
        self._workers.append(worker)
        worker.start()

    @property
    def waiting(self) -> int:
        """Number of pictures in the queue."""
        return self._queue.images

    async def run(
        self, work: Work[R], *, deadline_s: float, images: int = 1, live: LiveModel | None = None
    ) -> R:
        """Run a request and return its answer.

        Args:
            work: the request.
            deadline_s: maximum time until the answer, seconds.
            images: expected number of pictures, for the limit of the queue; the request may have more.
            live: the model that answers; None: the slot's current model.

        Raises:
            NotReady: no model is live, or the service is shutting down.
            QueueFull: too many pictures wait already.
            DeadlinePassed: it took too long.
            Exception: raised by `work`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        now = time.monotonic()
        job: _Job[R] = _Job(
            work=work,
            live=live or self._slot.require(),
            images=images,
            future=future,
            loop=loop,
            came=now,
            deadline=now + deadline_s,
            deadline_s=deadline_s,
        )
        self._queue.put(job, patience_s=deadline_s)
        self._last_deadline = max(self._last_deadline, job.deadline)
        del job
        timer = loop.call_later(deadline_s, _expire, future, deadline_s)
        try:
            return await future
        finally:
            timer.cancel()
            # See `settle`: the traceback holds this frame too.
            del future

    async def predict(self, images: Image, *, live: LiveModel, deadline_s: float) -> Prediction:
        """Return the outputs of `live` for pictures prepared with its contract, uint8 [n, H, W, 3].

        Raises:
            NotReady: the service is shutting down.
            QueueFull: too many pictures wait already.
            DeadlinePassed: it took too long.
            ValueError: the pictures are not of the contract's size.
        """
        return await self.run(PreparedTensors(images), deadline_s=deadline_s, images=len(images), live=live)

    async def close(self) -> None:
        """Refuse new requests, answer the waiting ones, end the threads."""
        self._queue.close()
        await asyncio.get_running_loop().run_in_executor(None, self._join)

    def _join(self) -> None:
        """Wait for the workers until the last deadline, then cancel their runs."""
        for worker in self._workers:
            worker.join(max(0.0, self._last_deadline - time.monotonic()) + _END_S)
            if worker.is_alive():
                WATCHDOG.cancel_thread(worker.ident)
                worker.join(_END_S)

    def _serve(self) -> None:
        lost = threading.Event()
        call_when_lost(lambda: self._replace(lost))
        bell = threading.Lock()
        bell.acquire()
        while jobs := self._queue.take(bell):
            turn = _run(jobs, self.limit.most)
            if lost.is_set():
                return
            if turn is not None and self.limit.target_s is not None:
                self.limit.observe(jobs[0].live, turn)
            if self._on_batch is not None:
                self._on_batch(sum(job.images for job in jobs))
            # The names would keep an old model alive while this thread waits for the next request.
            del jobs
            image_s = (turn.infer_s + turn.own_s) / sum(turn.sizes) if turn is not None else None
            self._queue.done(image_s=image_s)

    def _replace(self, lost: threading.Event) -> None:
        """Replace a worker whose run of the network does not return."""
        lost.set()
        _log.error("a run of the model cannot be ended; its thread is lost, and its core until it ends")
        self._queue.done()
        self._start_worker()


def _expire(future: asyncio.Future[Any], deadline_s: float) -> None:
    if not future.done():
        future.set_exception(DeadlinePassed(deadline_s=deadline_s))


def _run(jobs: Sequence[_Job[Any]], max_batch: int) -> Turn | None:
    """Prepare, run and finish jobs; each ends with a result or an error. None if the network did not run."""
    turn: Turn | None = None
    taken = time.monotonic()
    wanted: list[tuple[_Job[Any], Image]] = []
    for job in jobs:
        # Cancelled by its client or too late already: not prepared.
        if job.future.done():
            continue
        if job.deadline < taken:
            job.error = DeadlinePassed(deadline_s=job.deadline_s)
            continue
        images = _prepare(job)
        if images is not None:
            wanted.append((job, images))
    try:
        if wanted:
            infer_s = _infer(wanted, max_batch, taken)
            turn = Turn(
                sizes=tuple(piece_sizes(sum(job.images for job, _ in wanted), max_batch)),
                infer_s=infer_s,
                own_s=time.monotonic() - taken - infer_s,
            )
    except ModelTimeout as error:
        # The watcher withdraws the model; waiting requests must not wait for the timeout again.
        for job, _ in wanted:
            job.error = NotReady(reason=str(error))
    except Exception as error:
        _log.exception("a batch of %d requests failed", len(wanted))
        for job, _ in wanted:
            job.error = error
    _settle(jobs)
    return turn


def _prepare(job: _Job[Any]) -> Image | None:
    start = time.monotonic()
    try:
        images = job.work.prepare(job.live)
        spec = job.live.contract.input
        if images.dtype != np.uint8 or images.shape[1:] != (spec.height, spec.width, 3):
            raise ValueError(
                f"got {images.dtype} {list(images.shape)}, expected uint8 [n, {spec.height}, {spec.width}, 3]"
            )
    except Exception as error:
        job.error = error
        return None
    job.prepare_s = time.monotonic() - start
    return images


def _infer(wanted: Sequence[tuple[_Job[Any], Image]], max_batch: int, taken: float) -> float:
    """Run the network and finish jobs; the network's seconds."""
    live = wanted[0][0].live
    images = wanted[0][1] if len(wanted) == 1 else np.concatenate([images for _, images in wanted])
    start = time.monotonic()
    prediction = join_predictions([live.classifier.predict(part) for part in _pieces(images, max_batch)])
    infer_s = time.monotonic() - start
    at = 0
    for job, own in wanted:
        mine = prediction if len(wanted) == 1 else prediction.part(slice(at, at + len(own)))
        at += len(own)
        timing = Timing(
            queued_s=taken - job.came, prepare_s=job.prepare_s, infer_s=infer_s, batch=len(images)
        )
        try:
            job.result = job.work.finish(live, mine, timing)
        except Exception as error:
            job.error = error
    return infer_s


def _pieces(images: Image, max_batch: int) -> Iterator[Image]:
    """Yield all pictures in full batches; one empty batch when there are none."""
    at = 0
    for size in piece_sizes(len(images), max_batch):
        yield images[at : at + size]
        at += size


def _settle(jobs: Sequence[_Job[Any]]) -> None:
    """Wake the event loop once for the whole batch."""
    settled = [job.settle for job in jobs]

    def settle() -> None:
        for one in settled:
            one()

    try:
        jobs[0].loop.call_soon_threadsafe(settle)
    except RuntimeError:
        _log.warning("%d answers came after the event loop had ended", len(jobs))
