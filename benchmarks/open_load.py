"""An open-loop load generator: sends requests when they are due, whether or not earlier ones were answered.

    python -m benchmarks.open_load URL FILE --rate 100 --arrivals poisson --seconds 5 --seed 1

A latency counts from the moment at which the request was due. So a queue, a connection that has to be opened
and a generator that is late all count. A closed loop sends nothing while it waits for an answer, and so it
leaves out the requests that would have waited longest ("coordinated omission": G. Tene, How NOT to Measure
Latency, 2013). The generator takes about 0.3 ms of processor time per request; give it a core of its own
(`pinned_to`).
It prints one JSON object with every latency and how late each request was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import os
import random
import selectors
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from benchmarks.load import post_request, read_status

Arrivals = Literal["poisson", "even"]
_MOST_CONNECTIONS = 500
"""Below MIEN_MAX_CONNECTIONS (512) and the 1,024 files of `select`; further requests wait for a free one."""
_WARM_CONNECTIONS = 16
"""Opened before the first request is due."""
_HEAD_START_S = 0.1
PATIENCE_S = 10.0
"""From the moment a request is due; later it counts as lost, with this latency."""


@dataclass(frozen=True, kw_only=True)
class OpenLoad:
    """Measurements of a generator, by request."""

    latencies_ms: Sequence[float]
    """From the moment at which it was due until its answer was read; `PATIENCE_S` if it was lost."""
    late_ms: Sequence[float]
    """How much later than due the generator began to send it."""
    lost: int
    """Requests without an answer in time, or with a status other than 2xx."""
    most_open: int
    """Largest number of requests that waited for their answers at one time."""


def measure_open(
    url: str,
    body: Path,
    *,
    content_type: str,
    arrivals: Arrivals,
    rate: float,
    seconds: float,
    seed: int,
    core: int | None = None,
) -> OpenLoad:
    """Run a generator in a process of its own.

    Args:
        url: POSTed to.
        body: file that is sent.
        content_type: what the body is.
        arrivals: when requests are due: at random, independently of one another, or evenly spaced.
        rate: mean number of requests per second.
        seconds: time in which requests become due.
        seed: of the random arrivals; the same seed makes the same timetable.
        core: processor that the generator runs on; None: any.
    """
    command = [sys.executable, "-m", "benchmarks.open_load", url, str(body), f"--content-type={content_type}"]
    command += [f"--arrivals={arrivals}", f"--rate={rate}", f"--seconds={seconds}", f"--seed={seed}"]
    with pinned_to(core):
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return OpenLoad(**json.loads(done.stdout))


@contextmanager
def pinned_to(core: int | None) -> Iterator[None]:
    """Run this thread, and the processes that it starts, on one processor; None: no change."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def timetable(arrivals: Arrivals, *, rate: float, seconds: float, seed: int) -> list[float]:
    """Moments at which requests are due, seconds after the start, ascending, below `seconds`."""
    if arrivals == "even":
        return [number / rate for number in range(math.ceil(rate * seconds))]
    gaps = random.Random(seed)
    due: list[float] = []
    now = gaps.expovariate(rate)
    while now < seconds:
        due.append(now)
        now += gaps.expovariate(rate)
    return due


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def main() -> None:
    """Generate and print."""
    parser = argparse.ArgumentParser(description="Open-loop load on one URL.")
    parser.add_argument("url")
    parser.add_argument("body", type=Path)
    parser.add_argument("--content-type", default="application/octet-stream")
    parser.add_argument("--arrivals", choices=get_args(Arrivals), default="poisson")
    parser.add_argument("--rate", type=float, required=True, help="requests per second")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    due = timetable(arguments.arrivals, rate=arguments.rate, seconds=arguments.seconds, seed=arguments.seed)
    generator = _Generator(arguments.url, arguments.body.read_bytes(), content_type=arguments.content_type)
    # A collection would delay what is due.
    gc.disable()
    with asyncio.Runner(loop_factory=_precise_loop) as runner:
        print(json.dumps(asdict(runner.run(generator.run(due)))))


def _precise_loop() -> asyncio.AbstractEventLoop:
    """An event loop that wakes up on the microsecond; epoll's time-outs are whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Generator:
    """Requests by a timetable, over kept connections."""

    def __init__(self, url: str, body: bytes, *, content_type: str) -> None:
        self._address, self._request = post_request(url, body, content_type=content_type)
        self._places = asyncio.Semaphore(_MOST_CONNECTIONS)
        self._idle: list[_Connection] = []
        self._latencies_ms: list[float] = []
        self._late_ms: list[float] = []
        self._lost = self._open = self._most_open = 0

    async def run(self, due: Sequence[float]) -> OpenLoad:
        """Send a request at each of these moments, seconds from now; wait for the answers."""
        loop = asyncio.get_running_loop()
        self._idle = [await asyncio.open_connection(*self._address) for _ in range(_WARM_CONNECTIONS)]
        begun = loop.time() + _HEAD_START_S
        async with asyncio.TaskGroup() as requests:
            for moment in due:
                await asyncio.sleep(max(0.0, begun + moment - loop.time()))
                requests.create_task(self._ask(begun + moment))
        for _, writer in self._idle:
            writer.close()
        return OpenLoad(
            latencies_ms=self._latencies_ms,
            late_ms=self._late_ms,
            lost=self._lost,
            most_open=self._most_open,
        )

    async def _ask(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        self._late_ms.append(1e3 * (loop.time() - due))
        self._open += 1
        self._most_open = max(self._most_open, self._open)
        answered = False
        with suppress(OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout_at(due + PATIENCE_S), self._places:
                answered = await self._exchange()
        self._open -= 1
        self._lost += not answered
        self._latencies_ms.append(1e3 * (loop.time() - due if answered else PATIENCE_S))

    async def _exchange(self) -> bool:
        """Send one request and read its answer; whether it succeeded."""
        reader, writer = self._kept() or await asyncio.open_connection(*self._address)
        try:
            writer.write(self._request)
            status = await read_status(reader)
        except BaseException:
            writer.close()
            raise
        self._idle.append((reader, writer))
        return status // 100 == 2

    def _kept(self) -> _Connection | None:
        """The connection that was used last and that its server has not closed."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None


if __name__ == "__main__":
    main()
