"""Figures of all rounds, and the Markdown that is made of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GOAL_COMPLETE = {1: 1.0, 8: 1.5, 32: 1.5}
"""Times the best complete server's requests per second, by number of clients."""
GOAL_BARE = 1.0
"""Times the bare handler's requests per second."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way of asking one server, at one number of clients."""

    title: str
    kind: str
    """`ours`, `complete` (a serving product) or `bare`."""
    sent: str
    """What it is compared by: `body` or `form`."""
    connections: int
    per_s: Sequence[float]
    """Of each round, as the following."""
    p50_ms: Sequence[float]
    p99_ms: Sequence[float]
    cpu_ms: Sequence[float]
    """Processor time of all its processes for one request: what other work on the machine changes least."""
    lead: Sequence[float]
    """This service's requests per second over this row's, sent in the same way."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """All processes of one server, MiB; what they share counts once."""

    title: str
    idle: float
    loaded: float


def median(values: Sequence[float]) -> float:
    """Of the rounds."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """`1.52 (1.40–1.61)`: the median of the rounds, the least and the most."""
    return f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def tables(rows: Sequence[Row], memories: Sequence[Memory]) -> Iterator[str]:
    """Lines of Markdown: a table for each number of clients, then memory, then the goals."""
    for connections in sorted({row.connections for row in rows}):
        yield f"**{connections} {'client' if connections == 1 else 'clients'}**"
        yield ""
        yield "| | requests/s | mien ÷ it (least–most) | p50 ms | p99 ms | processor ms |"
        yield "|---|---|---|---|---|---|"
        for row in rows:
            if row.connections == connections:
                yield _line(row)
        yield ""
    yield "| memory of all processes, MiB | idle | after the load |"
    yield "|---|---|---|"
    for memory in memories:
        yield f"| {memory.title} | {memory.idle:.0f} | {memory.loaded:.0f} |"
    yield ""
    yield "| goal, body as it is | wanted | measured (least–most) | |"
    yield "|---|---|---|---|"
    yield from goals(rows)


def goals(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each goal, and whether it is met by the median."""
    for connections in sorted({row.connections for row in rows}):
        peers = [row for row in rows if row.connections == connections and row.sent == "body"]
        for kind, what in (("complete", "the best complete server"), ("bare", "the bare handler")):
            rivals = [row for row in peers if row.kind == kind]
            if not rivals:
                continue
            best = max(rivals, key=lambda row: median(row.per_s))
            wanted = GOAL_COMPLETE.get(connections, 1.0) if kind == "complete" else GOAL_BARE
            label = f"{what} ({best.title})" if kind == "complete" else what
            verdict = "met" if median(best.lead) >= wanted else "**missed**"
            clients = "1 client" if connections == 1 else f"{connections} clients"
            yield f"| {clients}, ÷ {label} | ≥ {wanted:.1f} | {spread(best.lead)} | {verdict} |"


def as_rows(content: Mapping[str, Any]) -> list[Row]:
    """The rows of a result that was written as JSON."""
    return [Row(**row) for row in content["rows"]]


def _line(row: Row) -> str:
    lead = "1" if set(row.lead) == {1.0} else spread(row.lead)
    speed, p50, p99, cpu = map(median, (row.per_s, row.p50_ms, row.p99_ms, row.cpu_ms))
    return f"| {row.title} | {speed:.0f} | {lead} | {p50:.1f} | {p99:.1f} | {cpu:.2f} |"
