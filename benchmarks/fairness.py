"""`python -m benchmarks.fairness [--connections 500] [--seconds 60]`: how evenly connections are answered.

Many connections at once, each of which sends the next request as soon as it has an answer or a refusal. The
service runs as it does by default: one answering process with a thread for each core, everything switched on.
The generator shares the cores. It prints a Markdown table with the answers of the least served, the median
and the most served connection, and their mean. Expected: the least served gets at least half the mean. With
fewer than some ten answers for each connection, whole numbers decide.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import machine
from benchmarks.load import Load, measure
from benchmarks.models import exported
from benchmarks.peers.contender import PORTRAIT_PX, portrait
from benchmarks.service import registry_with, service
from serving.cores import usable_cores

_ARCHITECTURE, _SIDE_PX = "mobilenet_v2", 96
GOAL = 0.5
"""Least share of the mean that every connection should get."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How evenly connections are answered.")
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--model", default=_ARCHITECTURE, help="an architecture")
    parser.add_argument("--quick", action="store_true", help="ten seconds")
    arguments = parser.parse_args()
    seconds = 10.0 if arguments.quick else arguments.seconds
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place, body = Path(folder), Path(folder) / "portrait.jpg"
        body.write_bytes(portrait())
        registry = registry_with(exported(arguments.model, side_px=_SIDE_PX), place)
        with service(place, registry=registry, workers=1, threads=usable_cores()) as running:
            running.settle()
            print(
                f"`{arguments.model}` at {_SIDE_PX} px; a JPEG of {PORTRAIT_PX} px; {arguments.connections} "
                f"connections for {seconds:g} s; load of the machine before: {machine.load():.1f}.\n",
                flush=True,
            )
            load = measure(
                running.url, body, connections=arguments.connections, seconds=seconds, by_connection=True
            )
    print("\n".join(fairness_table(load)))


def fairness_table(load: Load) -> Iterator[str]:
    """Lines of Markdown: answers by connection, and whether the goal is met."""
    mean = statistics.mean(load.answers)
    least = min(load.answers)
    share = least / mean if mean else 0.0
    verdict = "met" if share >= GOAL else "**missed**"
    yield f"| answers/s | least | median | mean | most | refused | least ÷ mean | wanted: ≥ {GOAL} |"
    yield "|---|---|---|---|---|---|---|---|"
    cells = [f"{sum(load.answers) / load.seconds:.0f}", f"{least}", f"{statistics.median(load.answers):g}"]
    cells += [f"{mean:.1f}", f"{max(load.answers)}", f"{load.failed}", f"{share:.2f}", verdict]
    yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
