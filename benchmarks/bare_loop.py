"""The bare loop: decode, preprocess and `session.run` only; an upper bound for the service on this processor.

One process for each core, or one process with a thread for each core; the fastest batch size. The
functions are the service's own, so that the difference is the service's overhead.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

_BATCHES = (1, 2, 4, 8, 16)
_PROBE_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the loop is spread over the cores."""

    processes: int
    threads: int
    """In each process."""
    batch: int

    def __str__(self) -> str:
        return f"{self.processes} × {self.threads} threads, batches of {self.batch}"


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Of one run."""

    per_s: float
    """Pictures per second, all processes together."""
    cpu_ms: float
    """Processor time of one picture."""


class BareLoop:
    """Processes that wait for work with the model loaded."""

    def __init__(self, pipes: list[Connection], cores: int) -> None:
        self._pipes = pipes
        self._cores = cores

    def best_layout(self) -> Layout:
        """The fastest one."""
        spread = ((self._cores, 1), (1, self._cores)) if self._cores > 1 else ((1, 1),)
        layouts = [
            Layout(processes=processes, threads=threads, batch=batch)
            for processes, threads in spread
            for batch in _BATCHES
        ]
        return max(layouts, key=lambda layout: self.run(layout, _PROBE_S).per_s)

    def run(self, layout: Layout, seconds: float) -> Speed:
        """Run for `seconds` seconds."""
        used = self._pipes[: layout.processes]
        for pipe in used:
            pipe.send((layout.batch, layout.threads, seconds))
        answers = [pipe.recv() for pipe in used]
        pictures = sum(count for count, _, _ in answers)
        return Speed(
            per_s=sum(count / took for count, took, _ in answers),
            cpu_ms=1e3 * sum(cpu_s for _, _, cpu_s in answers) / pictures,
        )

    def single_ms(self, seconds: float) -> float:
        """Time of one picture on an idle machine, milliseconds."""
        return 1e3 / self.run(Layout(processes=1, threads=1, batch=1), seconds).per_s


@contextmanager
def bare_loop(model: Path, picture: bytes, *, cores: int) -> Iterator[BareLoop]:
    """Start the processes; end them with the block."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for _ in range(cores):
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, model, picture), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
    try:
        yield BareLoop(pipes, cores)
    finally:
        for pipe, process in zip(pipes, processes, strict=True):
            pipe.send(None)
            process.join()


def _work(pipe: Connection, model: Path, picture: bytes) -> None:
    import cv2
    import numpy as np

    from serving.contract import decode, preprocess
    from serving.inference.onnx_classifier import OnnxClassifier

    cv2.setNumThreads(1)
    classifier = OnnxClassifier.open(model, threads=1)
    spec = classifier.contract.input

    def loop(batch: int, end: float, counts: list[int]) -> None:
        count = 0
        while time.perf_counter() < end:
            images = [preprocess(decode(picture, max_pixels=10**8), spec) for _ in range(batch)]
            classifier.predict(np.stack(images))
            count += batch
        counts.append(count)

    loop(_BATCHES[-1], time.perf_counter() + 0.1, [])
    while (order := pipe.recv()) is not None:
        batch, threads, seconds = order
        counts: list[int] = []
        begun, cpu_s = time.perf_counter(), time.process_time()
        workers = [
            threading.Thread(target=loop, args=(batch, begun + seconds, counts)) for _ in range(threads)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        pipe.send((sum(counts), time.perf_counter() - begun, time.process_time() - cpu_s))
