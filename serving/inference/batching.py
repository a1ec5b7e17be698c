"""Requests to batches: a bounded queue, a few worker threads, and no wait when a worker is idle.

    batcher = Batcher(slot, threads=2, max_batch=16, max_queue_images=256)
    answer = await batcher.run(work, deadline_s=5.0)     # Work: bytes → pictures, prediction → answer
    await batcher.close()

A worker takes what waits at that moment (shared with those that are idle too, at most as many pictures as the
`BatchLimit` says),
lets each request prepare its pictures, runs the network, and lets each request make its answer: one hop from
the event loop to a thread and one back for every kind of request. Decoding, ONNX Runtime and OpenCV release
the GIL.

A request keeps the model that was live when it came. Its pictures are prepared with that model's contract
and batched only with requests of the same model, so a promotion in between can mix nothing up.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from serving.contract.arrays import Image
from serving.errors import ModelTimeout
from serving.errors.requests import DeadlinePassed, NotReady
from serving.inference.batch_limit import BatchLimit, Turn
from serving.inference.job_queue import JobQueue, piece_sizes
from serving.inference.model_slot import LiveModel, ModelSlot
from serving.inference.onnx_classifier import Prediction, join_predictions
from serving.inference.watchdog import WATCHDOG, call_when_lost

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_log = logging.getLogger(__name__)
# ONNX Runtime ends a cancelled run between two operators; the process may end without the rest.
_END_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Durations of one request's parts, seconds."""

    queued_s: float
    """Time from its arrival until a worker took it."""
    prepare_s: float
    """Time to prepare its own pictures."""
    infer_s: float
    """Time of the network, for the whole batch."""
    batch: int
    """Number of pictures that went through the network together."""


class Work(Protocol[R_co]):
    """One request; both methods are called in a worker thread, one after the other."""

    def prepare(self, live: LiveModel) -> Image:
        """Return the network's inputs, uint8 [n, H, W, 3]; exceptions are passed to the caller."""

    def finish(self, live: LiveModel, prediction: Prediction, timing: Timing) -> R_co:
        """Return the answer for the network's outputs of these n pictures."""


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
            workers=threads, largest=self.limit.of, max_images=max_queue_images
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
        self._queue.put(job)
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
        return await self.run(_PreparedTensors(images), deadline_s=deadline_s, images=len(images), live=live)

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
            if turn is not None:
                self.limit.observe(jobs[0].live, turn)
            if self._on_batch is not None:
                self._on_batch(sum(job.images for job in jobs))
            # The names would keep an old model alive while this thread waits for the next request.
            del jobs
            self._queue.done()

    def _replace(self, lost: threading.Event) -> None:
        """Replace a worker whose run of the network does not return."""
        lost.set()
        _log.error("a run of the model cannot be ended; its thread is lost, and its core until it ends")
        self._queue.done()
        self._start_worker()


class _PreparedTensors:
    """Work whose pictures are prepared already."""

    def __init__(self, images: Image) -> None:
        self._images = images

    def prepare(self, live: LiveModel) -> Image:
        return self._images

    def finish(self, live: LiveModel, prediction: Prediction, timing: Timing) -> Prediction:
        return prediction


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
                images=sum(job.images for job, _ in wanted),
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
