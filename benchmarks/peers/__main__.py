"""`python -m benchmarks.peers [PEER …] [--quick]`: this service and what people use instead; about 7 minutes.

The same ONNX file and the same JPEG behind BentoML, MLServer, LitServe, `mlflow models serve` and a bare
FastAPI handler, each with a worker for each core in an environment of its own (made once, a minute each, in
`--cache`), and behind this service with everything on, no faces searched. wrk asks them in turn with 1, 8 and
32 clients, round after round. Each answer is compared with the model's own first. It prints Markdown tables;
`--json FILE` keeps every round's figures. Expected: ahead of every complete server, 1.5 times the best at 8
and 32 clients.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.load import Load
from benchmarks.models import exported
from benchmarks.peers.check import check, expectations
from benchmarks.peers.contender import PORTRAIT_PX, Contender, loaded, our_ways, own, peer, portrait
from benchmarks.peers.environments import default_cache, environment
from benchmarks.peers.recipes import Recipe, recipes
from benchmarks.peers.results import Memory, Row, tables
from benchmarks.peers.server import ask, serving
from benchmarks.service import registry_with, service
from serving.cores import usable_cores

_ARCHITECTURE, _SIDE_PX = "mobilenet_v2", 96
_CONNECTIONS = (1, 8, 32)
_OURS = "mien"
_TURNS = 3
"""Rounds after which everyone has been early, in the middle and late."""
_Measured = tuple[Load, float]
"""With the processor time of one request, milliseconds."""


def main() -> None:
    """Measure and print."""
    names = [recipe.name for recipe in recipes()]
    parser = argparse.ArgumentParser(description="This service and what people use instead.")
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"some of {', '.join(names)}; all without")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement; wrk takes whole seconds")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="folder of the environments")
    parser.add_argument("--json", type=Path, help="file for the figures of every round")
    parser.add_argument("--quick", action="store_true", help="one round, one second each")
    arguments = parser.parse_args()
    if unknown := set(arguments.peers) - set(names):
        parser.error(f"got {', '.join(sorted(unknown))}, expected some of {', '.join(names)}")
    if shutil.which("wrk") is None:
        parser.error("wrk is not there: apt-get install wrk")
    chosen = [recipe for recipe in recipes() if recipe.name in (arguments.peers or names)]
    rounds, seconds = (1, 1) if arguments.quick else (arguments.rounds, arguments.seconds)
    # Servers have sessions of their own: they end only because this process ends them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    programs = {recipe.name: environment(recipe.name, arguments.cache) for recipe in chosen}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        bench = _Bench(stack, Path(folder), chosen, programs)
        result = bench.measured(rounds=rounds, seconds=seconds)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


class _Bench:
    """Everything that runs while it is measured."""

    def __init__(
        self, stack: ExitStack, folder: Path, chosen: Sequence[Recipe], programs: Mapping[str, Path]
    ) -> None:
        self._folder = folder
        self._picture, other = portrait(0), portrait(1)
        self._model = exported(_ARCHITECTURE, side_px=_SIDE_PX)
        self._contenders: list[Contender] = []
        self._bodies: dict[str, Path] = {}
        """Title → file that is sent."""
        self._memory: dict[str, Callable[[], float]] = {}
        self._expected = expectations(self._model, [self._picture, other])
        self._start_ours(stack)
        for recipe in chosen:
            self._start(stack, recipe, programs[recipe.name])
        for contender in self._contenders:
            asked = partial(ask, contender.port, contender.way)
            check(contender.title, asked, contender.way.probabilities, self._expected)

    def measured(self, *, rounds: int, seconds: float) -> dict[str, Any]:
        """Load in turn; prints and returns the result."""
        _say(self._picture, rounds=rounds, seconds=seconds)
        idle = {title: memory() for title, memory in self._memory.items()}
        for contender in self._contenders:
            loaded(contender, self._bodies[contender.title], connections=8, seconds=1)
        figures: dict[tuple[str, int], list[_Measured]] = defaultdict(list)
        for number in range(rounds):
            for connections in _CONNECTIONS:
                for contender in self._turned(number):
                    body = self._bodies[contender.title]
                    measured = loaded(contender, body, connections=connections, seconds=seconds)
                    figures[contender.title, connections].append(measured)
        rows = list(self._rows(figures))
        memories = [Memory(title=t, idle=idle[t], loaded=now()) for t, now in self._memory.items()]
        print("\n".join(tables(rows, memories)), flush=True)
        return {"rows": [asdict(row) for row in rows], "memory": [asdict(memory) for memory in memories]}

    def _turned(self, number: int) -> Sequence[Contender]:
        """All of them, another one first in each round."""
        first = number * len(self._contenders) // _TURNS % len(self._contenders)
        return (*self._contenders[first:], *self._contenders[:first])

    def _rows(self, figures: Mapping[tuple[str, int], Sequence[_Measured]]) -> Iterator[Row]:
        for connections in _CONNECTIONS:
            for contender in self._contenders:
                same = next(c for c in self._contenders if c.kind == "ours" and c.sent == contender.sent)
                loads = figures[contender.title, connections]
                reference = figures[same.title, connections]
                yield Row(
                    title=contender.title,
                    kind=contender.kind,
                    sent=contender.sent,
                    connections=connections,
                    per_s=[load.per_s for load, _ in loads],
                    p50_ms=[load.p50_ms for load, _ in loads],
                    p99_ms=[load.p99_ms for load, _ in loads],
                    cpu_ms=[cpu_ms for _, cpu_ms in loads],
                    lead=[
                        ours.per_s / load.per_s for (ours, _), (load, _) in zip(reference, loads, strict=True)
                    ],
                )

    def _start_ours(self, stack: ExitStack) -> None:
        registry = registry_with(self._model, self._folder)
        cores = usable_cores()
        for title, workers in ((_OURS, cores), (f"{_OURS}, one answering process", 1)):
            folder = self._folder / f"mien-{workers}"
            folder.mkdir()
            running = stack.enter_context(
                service(
                    folder, registry=registry, workers=workers, threads=cores // workers, own_session=True
                )
            )
            running.settle()
            self._memory[title] = running.proportional_mib
            for way in our_ways(title) if workers == cores else our_ways(title)[:1]:
                self._add(own(running, way))

    def _start(self, stack: ExitStack, recipe: Recipe, programs: Path) -> None:
        folder = self._folder / recipe.name
        running = stack.enter_context(
            serving(
                recipe,
                programs=programs,
                folder=folder,
                model=self._model,
                workers=usable_cores(),
                picture=self._picture,
            )
        )
        self._memory[recipe.ways[0].title] = running.memory_mib
        kind = "complete" if recipe.complete else "bare"
        for way in recipe.ways:
            self._add(peer(running, way, kind=kind))

    def _add(self, contender: Contender) -> None:
        body = self._folder / f"body-{len(self._contenders)}"
        body.write_bytes(contender.way.encode(self._picture))
        self._bodies[contender.title] = body
        self._contenders.append(contender)


def _say(picture: bytes, *, rounds: int, seconds: float) -> None:
    print(f"`{_ARCHITECTURE}` at {_SIDE_PX} px; a JPEG of {PORTRAIT_PX} px, {len(picture):,} bytes;", end=" ")
    print(f"{usable_cores()} workers each; wrk on the same cores; {rounds} × {seconds} s;", end=" ")
    print(f"load of the machine before: {machine.load():.1f}.\n", flush=True)


if __name__ == "__main__":
    main()
