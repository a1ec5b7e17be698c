"""`python -m benchmarks.peers.open_loop [PEER …] [--quick]`: the tail of latencies; about 15 minutes, Linux.

An open loop with requests at random (Poisson, seeded) and evenly spaced, at 50, 70 and 90 % of what the bare
handler answers to one client that sends one request after another. All servers get the same timetable: this
service with everything on, LitServe, MLServer, BentoML and the bare handler. Each server runs with one worker
on one core, the generator on the other one. A latency counts from the moment at which the request was due.
Just before each load, one picture in the bare loop and the bare handler's capacity are measured again: the
rates and the multiples come from the same minute. Servers whose environments cannot be made are named as not
available. It prints Markdown tables; `--json FILE` keeps every round's figures. Expected at 70 %: p99 of this
service at most 6 times a picture at random and 3 times evenly, and the lowest of all.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import get_args

from benchmarks import machine
from benchmarks.bare_loop import bare_loop
from benchmarks.models import exported
from benchmarks.open_load import Arrivals, OpenLoad, measure_open, pinned_to
from benchmarks.peers.check import check, expectations
from benchmarks.peers.contender import PORTRAIT_PX, Contender, loaded, our_ways, own, peer, portrait
from benchmarks.peers.environments import available, default_cache
from benchmarks.peers.recipes import Recipe, recipes
from benchmarks.peers.server import ask, serving
from benchmarks.peers.tail import Pace, TailRow, tail_row, tail_tables
from benchmarks.service import registry_with, service

_ARCHITECTURE, _SIDE_PX = "mobilenet_v2", 96
_BARE = "fastapi"
PEERS = (_BARE, "litserve", "mlserver", "bentoml")
SHARES = (0.5, 0.7, 0.9)
_SEED = 15
_PICTURE_S = 1.0
_CAPACITY_S = 2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The tail of latencies in an open loop.")
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"some of {', '.join(PEERS)}; all without")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="folder of the environments")
    parser.add_argument("--json", type=Path, help="file for the figures of every round")
    parser.add_argument("--quick", action="store_true", help="one round, two seconds each")
    arguments = parser.parse_args()
    if unknown := set(arguments.peers) - set(PEERS):
        parser.error(f"got {', '.join(sorted(unknown))}, expected some of {', '.join(PEERS)}")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        parser.error("one core is usable, expected two: one for the server, one for the generator")
    rounds, seconds = (1, 2.0) if arguments.quick else (arguments.rounds, arguments.seconds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # The loads are shares of the bare handler's capacity, so it is always there.
    names = {_BARE, *(arguments.peers or PEERS)}
    programs, missing = available([name for name in PEERS if name in names], arguments.cache)
    if _BARE in missing:
        parser.error(f"the bare handler's environment cannot be made: {missing[_BARE]}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        bench = _Bench(stack, Path(folder), programs, cores=(cores[0], cores[-1]))
        rows = bench.measured(rounds=rounds, seconds=seconds)
    titles = {recipe.name: recipe.ways[0].title for recipe in recipes()}
    unavailable = {titles[name]: reason for name, reason in missing.items()}
    print("\n".join(tail_tables(rows, unavailable)), flush=True)
    if arguments.json:
        result = {"rows": [asdict(row) for row in rows], "unavailable": unavailable}
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


class _Bench:
    """All servers, on one core; a generator is started on the other one for each measurement."""

    def __init__(
        self, stack: ExitStack, folder: Path, programs: dict[str, Path], *, cores: tuple[int, int]
    ) -> None:
        self._folder = folder
        self._servers_core, self._generators_core = cores
        self._picture = portrait()
        self._model = exported(_ARCHITECTURE, side_px=_SIDE_PX)
        with pinned_to(self._servers_core):
            self._contenders = [self._ours(stack)]
            for recipe in recipes():
                if recipe.name in programs:
                    self._contenders.append(self._peer(stack, recipe, programs[recipe.name]))
            self._loop = stack.enter_context(bare_loop(self._model, self._picture, cores=1))
        expected = expectations(self._model, [self._picture, portrait(1)])
        self._bodies: dict[str, Path] = {}
        for number, contender in enumerate(self._contenders):
            asked = partial(ask, contender.port, contender.way)
            check(contender.title, asked, contender.way.probabilities, expected)
            self._bodies[contender.title] = folder / f"body-{number}"
            self._bodies[contender.title].write_bytes(contender.way.encode(self._picture))

    def measured(self, *, rounds: int, seconds: float) -> list[TailRow]:
        """Put every load on every server in turn."""
        print(
            f"`{_ARCHITECTURE}` at {_SIDE_PX} px; a JPEG of {PORTRAIT_PX} px; each server on one core, the "
            f"generator on another; {rounds} × {seconds:g} s; load of the machine before: "
            f"{machine.load():.1f}.\n",
            flush=True,
        )
        for contender in self._contenders:
            self._capacity(contender)
        figures: dict[tuple[str, Arrivals, float], list[tuple[Pace, OpenLoad]]] = defaultdict(list)
        for number in range(rounds):
            for share in SHARES:
                pace = self._pace()
                for arrivals in get_args(Arrivals):
                    for contender in self._turned(number):
                        load = self._load(
                            contender,
                            arrivals,
                            rate=share * pace.capacity_per_s,
                            seconds=seconds,
                            seed=_SEED + number,
                        )
                        figures[contender.title, arrivals, share].append((pace, load))
        return [
            tail_row(
                contender.title,
                contender.kind,
                arrivals=arrivals,
                share=share,
                rounds=figures[contender.title, arrivals, share],
            )
            for arrivals in get_args(Arrivals)
            for share in SHARES
            for contender in self._contenders
        ]

    def _turned(self, number: int) -> Sequence[Contender]:
        """All of them, another one first in each round."""
        first = number % len(self._contenders)
        return (*self._contenders[first:], *self._contenders[:first])

    def _pace(self) -> Pace:
        bare = next(contender for contender in self._contenders if contender.kind == "bare")
        return Pace(picture_ms=self._loop.single_ms(_PICTURE_S), capacity_per_s=self._capacity(bare))

    def _capacity(self, contender: Contender, *, tries: int = 3) -> float:
        """Requests per second of one client that sends one after another.

        Raises:
            RuntimeError: the last of several tries failed. On a shared machine wrk may count nothing in two
                seconds, because it gets no processor time.
        """
        body = self._bodies[contender.title]
        try:
            with pinned_to(self._generators_core):
                load, _ = loaded(contender, body, connections=1, seconds=_CAPACITY_S)
        except RuntimeError:
            if tries == 1:
                raise
            return self._capacity(contender, tries=tries - 1)
        return load.per_s

    def _load(
        self, contender: Contender, arrivals: Arrivals, *, rate: float, seconds: float, seed: int
    ) -> OpenLoad:
        load = measure_open(
            contender.url,
            self._bodies[contender.title],
            content_type=contender.way.content_type,
            arrivals=arrivals,
            rate=rate,
            seconds=seconds,
            seed=seed,
            core=self._generators_core,
        )
        contender.rest()
        return load

    def _ours(self, stack: ExitStack) -> Contender:
        files = self._folder / "mien"
        files.mkdir()
        registry = registry_with(self._model, self._folder)
        running = stack.enter_context(
            service(files, registry=registry, workers=1, threads=1, own_session=True)
        )
        running.settle()
        return own(running, our_ways("mien")[0])

    def _peer(self, stack: ExitStack, recipe: Recipe, programs: Path) -> Contender:
        server = stack.enter_context(
            serving(
                recipe,
                programs=programs,
                folder=self._folder / recipe.name,
                model=self._model,
                workers=1,
                picture=self._picture,
            )
        )
        return peer(server, recipe.ways[0], kind="complete" if recipe.complete else "bare")


if __name__ == "__main__":
    main()
