"""The load of a soak test, in a process of its own: mixed requests at random, in an open loop.

    python -m benchmarks.soak.load http://127.0.0.1:8000 PICTURE… --rate 100 --seed 1

Most requests are forms with a portrait whose faces are searched, some are the file itself with `faces=none`,
and some answers get feedback. Latencies count from the moment at which a request was due, as in
`benchmarks.open_load`. It prints JSON lines (`benchmarks.soak.record`): one for each interval, one as soon as
another version answers, and one at the end. It ends on SIGTERM or SIGINT: it sends nothing more, waits for
the answers and prints the last lines.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import signal
import sys
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import post_request
from benchmarks.open_load import PATIENCE_S, Connections, percentile, poisson, precise_loop
from benchmarks.peers.recipes import BINARY, FORM, JSON, as_form, as_is
from benchmarks.soak.record import Counts, Interval, LoadLine, Tail, VersionChange, as_line

FORMS = 0.8
"""Share of the pictures sent as a form and searched for faces; the rest is sent with `faces=none`."""
FEEDBACK = 0.05
"""Share of the answers that get feedback."""
_REFUSED = (429, 503)
_HEAD_START_S = 0.1


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """What is sent."""

    url: str
    """Of the service, without a path."""
    pictures: Sequence[Path]
    rate: float
    """Mean number of pictures per second."""
    seed: int
    interval_s: float
    """Between two lines."""


def command_of(plan: LoadPlan) -> list[str]:
    """The command line that runs a plan in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.soak.load", plan.url, *map(str, plan.pictures)]
    return [
        *command,
        f"--rate={plan.rate}",
        f"--seed={plan.seed}",
        f"--interval-s={plan.interval_s}",
    ]


def main() -> None:
    """Generate and print."""
    parser = argparse.ArgumentParser(description="Mixed open-loop load on a service.")
    parser.add_argument("url")
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--rate", type=float, required=True, help="pictures per second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--interval-s", type=float, default=10.0)
    load = Load(LoadPlan(**vars(parser.parse_args())))
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        runner.run(load.run())


class Load:
    """A load generator that prints what it counts."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._random = random.Random(plan.seed)
        form, raw = f"{plan.url}/detect", f"{plan.url}/detect?faces=none"
        self._forms, self._raws = [], []
        for path in plan.pictures:
            picture = path.read_bytes()
            address, request = post_request(form, as_form(picture), content_type=FORM)
            self._forms.append(request)
            self._raws.append(post_request(raw, as_is(picture), content_type=BINARY)[1])
        self._connections = Connections(address)
        self._window = _Window()
        self._latencies_ms = array("f")
        self._version = ""
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Send until a signal comes; print lines."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        await self._connections.warm()
        # What is there stays; collections look at what comes later.
        gc.freeze()
        begun = loop.time() + _HEAD_START_S
        async with asyncio.TaskGroup() as requests:
            reports = requests.create_task(self._report(begun))
            for moment in poisson(rate=self._plan.rate, seed=self._plan.seed):
                if not await self._wait(begun + moment):
                    break
                requests.create_task(self._ask(begun + moment, *self._drawn()))
            reports.cancel()
        self._connections.close()
        self._print_interval()
        took = sorted(self._latencies_ms)
        _print(Tail(**{f"p{name}_ms": _at(took, share) for name, share in _TAIL.items()}))

    async def _wait(self, moment: float) -> bool:
        """Wait until a moment; whether it came before a signal did."""
        left = moment - asyncio.get_running_loop().time()
        if left > 0:
            try:
                async with asyncio.timeout(left):
                    await self._ending.wait()
            except TimeoutError:
                return True
        return not self._ending.is_set()

    async def _report(self, begun: float) -> None:
        loop, number = asyncio.get_running_loop(), 1
        while True:
            await asyncio.sleep(max(0.0, begun + number * self._plan.interval_s - loop.time()))
            self._print_interval()
            number += 1

    def _print_interval(self) -> None:
        window, self._window = self._window, _Window()
        _print(window.interval(asyncio.get_running_loop().time()))

    def _drawn(self) -> tuple[bytes, bool]:
        """The next request, and whether its answer gets feedback."""
        requests = self._forms if self._random.random() < FORMS else self._raws
        return self._random.choice(requests), self._random.random() < FEEDBACK

    async def _ask(self, due: float, request: bytes, wants_feedback: bool) -> None:
        loop = asyncio.get_running_loop()
        self._window.late_ms.append(1e3 * (loop.time() - due))
        self._window.pictures["sent"] += 1
        answer = await self._connections.answer(request, until=due + PATIENCE_S)
        self._window.pictures[_outcome(answer)] += 1
        if answer is None or answer[0] != 200:
            return
        took_ms = 1e3 * (loop.time() - due)
        self._window.latencies_ms.append(took_ms)
        self._latencies_ms.append(took_ms)
        body = json.loads(answer[1])
        self._note(body["model"]["version"], at=loop.time())
        if wants_feedback:
            await self._correct(body["id"], body["emotion"])

    def _note(self, version: str, *, at: float) -> None:
        self._window.versions[version] += 1
        if version != self._version:
            self._version = version
            _print(VersionChange(version=version, at=at))

    async def _correct(self, id: str, emotion: str) -> None:
        body = json.dumps({"id": id, "emotion": emotion}).encode()
        _, request = post_request(f"{self._plan.url}/feedback", body, content_type=JSON)
        self._window.feedback["sent"] += 1
        until = asyncio.get_running_loop().time() + PATIENCE_S
        answer = await self._connections.answer(request, until=until)
        # Another window may have begun meanwhile.
        self._window.feedback[_outcome(answer)] += 1


class _Window:
    """Counts since the line before."""

    def __init__(self) -> None:
        self.pictures: Counter[str] = Counter()
        self.feedback: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self.latencies_ms: list[float] = []
        self.late_ms: list[float] = []

    def interval(self, now: float) -> Interval:
        """The counts as one line."""
        took = sorted(self.latencies_ms)
        return Interval(
            ended_at=now,
            pictures=Counts(**self.pictures),
            feedback=Counts(**self.feedback),
            versions=dict(self.versions),
            p50_ms=_at(took, 0.5),
            p99_ms=_at(took, 0.99),
            late_p99_ms=_at(self.late_ms, 0.99),
        )


_TAIL = {"50": 0.5, "99": 0.99, "999": 0.999}


def _outcome(answer: tuple[int, bytes] | None) -> str:
    if answer is None:
        return "lost"
    return "answered" if answer[0] == 200 else "refused" if answer[0] in _REFUSED else "lost"


def _at(values: Sequence[float], share: float) -> float:
    return percentile(values, share) if values else 0.0


def _print(line: LoadLine) -> None:
    print(as_line(line), flush=True)


if __name__ == "__main__":
    main()
