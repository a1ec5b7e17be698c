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
from itertools import takewhile
from pathlib import Path
from typing import Literal, get_args

from benchmarks.load import post_request, read_answer

Arrivals = Literal["poisson", "even"]
_MOST_CONNECTIONS = 500
"""Below MIEN_MAX_CONNECTIONS (512) and the 1,024 files of `select`; further requests wait for a free one."""
_WARM_CONNECTIONS = 16
"""Opened before the first request is due."""
_IDLE_S = 4.0
"""Servers close a connection after 5 s without a request (uvicorn's default, and this service's): one that is
closed in the moment of the next request would count as lost, though no server has read it."""
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
    return list(takewhile(lambda moment: moment < seconds, poisson(rate=rate, seed=seed)))


def poisson(*, rate: float, seed: int) -> Iterator[float]:
    """Moments at which requests at random are due, seconds after the start, ascending, without an end."""
    gaps = random.Random(seed)
    now = 0.0
    while True:
        now += gaps.expovariate(rate)
        yield now


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
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        print(json.dumps(asdict(runner.run(generator.run(due)))))


def precise_loop() -> asyncio.AbstractEventLoop:
    """An event loop that wakes up on the microsecond; epoll's time-outs are whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Connections:
    """Kept connections to one server; the one that was used last is used next."""

    def __init__(
        self, address: tuple[str, int], *, most: int = _MOST_CONNECTIONS, idle_s: float = _IDLE_S
    ) -> None:
        """Open nothing yet.

        Args:
            address: host and port.
            most: maximum number of requests in flight; further ones wait.
            idle_s: age at which a connection that waits for a request is closed instead of used.
        """
        self._address = address
        self._places = asyncio.Semaphore(most)
        self._idle_s = idle_s
        self._idle: list[tuple[float, _Connection]] = []
        """With the moment of the last use, the loop's time."""

    async def warm(self, count: int = _WARM_CONNECTIONS) -> None:
        """Open connections before the first request is due."""
        for _ in range(count):
            self._keep(await asyncio.open_connection(*self._address))

    async def answer(self, request: bytes, *, until: float) -> tuple[int, bytes] | None:
        """Send a request; status and body of its answer, None if there is none.

        Args:
            request: the bytes of a whole request.
            until: the loop's time after which the answer counts as lost.
        """
        with suppress(OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout_at(until), self._places:
                return await self._exchange(request)
        return None

    def close(self) -> None:
        """Close the connections that wait for a request."""
        for _, (_, writer) in self._idle:
            writer.close()
        self._idle = []

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        reader, writer = self._kept() or await asyncio.open_connection(*self._address)
        try:
            writer.write(request)
            answer = await read_answer(reader)
        except BaseException:
            writer.close()
            raise
        self._keep((reader, writer))
        return answer

    def _keep(self, connection: _Connection) -> None:
        self._idle.append((asyncio.get_running_loop().time(), connection))

    def _kept(self) -> _Connection | None:
        """The connection that was used last and that its server has not closed, nor is about to."""
        oldest = asyncio.get_running_loop().time() - self._idle_s
        while self._idle:
            used, (reader, writer) = self._idle.pop()
            if used > oldest and not reader.at_eof():
                return reader, writer
            writer.close()
        return None


class _Generator:
    """Requests by a timetable, over kept connections."""

    def __init__(self, url: str, body: bytes, *, content_type: str) -> None:
        address, self._request = post_request(url, body, content_type=content_type)
        self._connections = Connections(address)
        self._latencies_ms: list[float] = []
        self._late_ms: list[float] = []
        self._lost = self._open = self._most_open = 0

    async def run(self, due: Sequence[float]) -> OpenLoad:
        """Send a request at each of these moments, seconds from now; wait for the answers."""
        loop = asyncio.get_running_loop()
        await self._connections.warm()
        begun = loop.time() + _HEAD_START_S
        async with asyncio.TaskGroup() as requests:
            for moment in due:
                await asyncio.sleep(max(0.0, begun + moment - loop.time()))
                requests.create_task(self._ask(begun + moment))
        self._connections.close()
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
        answer = await self._connections.answer(self._request, until=due + PATIENCE_S)
        answered = answer is not None and answer[0] // 100 == 2
        self._open -= 1
        self._lost += not answered
        self._latencies_ms.append(1e3 * (loop.time() - due if answered else PATIENCE_S))


if __name__ == "__main__":
    main()
