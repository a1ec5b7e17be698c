"""Latencies of an open loop by server, load and kind of arrivals, and the Markdown that is made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.open_load import Arrivals, OpenLoad, percentile
from benchmarks.peers.results import median, spread

GOAL_SHARE = 0.7
GOAL_TIMES: Mapping[Arrivals, float] = {"poisson": 6.0, "even": 3.0}
"""Most that this service's 99th percentile may be, times one picture, at `GOAL_SHARE`."""
_NAMES: Mapping[Arrivals, str] = {"poisson": "Poisson arrivals", "even": "even arrivals"}


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What one round's load is chosen by, measured just before it."""

    picture_ms: float
    """Time of one picture in the bare loop: decoding, preprocessing and the network, nothing else running."""
    capacity_per_s: float
    """Requests that the bare handler answers to one client that sends one after another."""


@dataclass(frozen=True, kw_only=True)
class TailRow:
    """One server under one load; sequences are by round."""

    title: str
    kind: str
    """`ours`, `complete` (a serving product) or `bare`."""
    arrivals: Arrivals
    share: float
    """Of the bare handler's capacity with one client."""
    rate_per_s: Sequence[float]
    picture_ms: Sequence[float]
    requests: Sequence[int]
    lost: Sequence[int]
    p50_ms: Sequence[float]
    p99_ms: Sequence[float]
    p999_ms: Sequence[float]
    """The slowest request where there are fewer than 1,000."""
    late_p99_ms: Sequence[float]
    """How late the generator was."""

    def times(self, values_ms: Sequence[float]) -> list[float]:
        """Latencies of the rounds as multiples of one picture's time in the same round."""
        return [value / picture for value, picture in zip(values_ms, self.picture_ms, strict=True)]


def tail_row(
    title: str,
    kind: str,
    *,
    arrivals: Arrivals,
    share: float,
    rounds: Sequence[tuple[Pace, OpenLoad]],
) -> TailRow:
    """The row of one server's measurements."""

    def at(level: float) -> list[float]:
        return [percentile(load.latencies_ms, level) for _, load in rounds]

    return TailRow(
        title=title,
        kind=kind,
        arrivals=arrivals,
        share=share,
        rate_per_s=[share * pace.capacity_per_s for pace, _ in rounds],
        picture_ms=[pace.picture_ms for pace, _ in rounds],
        requests=[len(load.latencies_ms) for _, load in rounds],
        lost=[load.lost for _, load in rounds],
        p50_ms=at(0.5),
        p99_ms=at(0.99),
        p999_ms=at(0.999),
        late_p99_ms=[percentile(load.late_ms, 0.99) for _, load in rounds],
    )


def tail_tables(rows: Sequence[TailRow], unavailable: Mapping[str, str]) -> Iterator[str]:
    """Lines of Markdown: a table for each load, the goals, the servers that could not be measured."""
    for arrivals, share in dict.fromkeys((row.arrivals, row.share) for row in rows):
        same = [row for row in rows if (row.arrivals, row.share) == (arrivals, share)]
        yield f"**{_load(arrivals, share)}: {median(same[0].rate_per_s):.0f} requests/s**"
        yield ""
        yield (
            "| | p50 ms | p99 ms | p99.9 ms | p50 ÷ picture | p99 ÷ picture (least–most) | p99.9 ÷ picture "
            "| requests | lost | sent late, p99 ms |"
        )
        yield "|---|---|---|---|---|---|---|---|---|---|"
        yield from map(_line, same)
        yield ""
    yield "| goal | wanted | measured (least–most) | |"
    yield "|---|---|---|---|"
    yield from tail_goals(rows)
    for title, reason in unavailable.items():
        yield f"\n{title} is not available here: {reason}"


def tail_goals(rows: Sequence[TailRow]) -> Iterator[str]:
    """A line for each goal, and whether it is met by the median of the rounds."""
    for ours in (row for row in rows if row.kind == "ours"):
        load = _load(ours.arrivals, ours.share)
        if ours.share == GOAL_SHARE:
            times, most = ours.times(ours.p99_ms), GOAL_TIMES[ours.arrivals]
            verdict = _verdict(median(times) <= most)
            yield f"| {load}: p99 ÷ picture | ≤ {most:.1f} | {spread(times)} | {verdict} |"
        others = [
            row
            for row in rows
            if row.kind != "ours" and (row.arrivals, row.share) == (ours.arrivals, ours.share)
        ]
        if others:
            best = min(others, key=lambda row: median(row.p99_ms))
            ratios = [own / other for own, other in zip(ours.p99_ms, best.p99_ms, strict=True)]
            verdict = _verdict(median(ratios) <= 1)
            yield f"| {load}: p99 ÷ lowest other ({best.title}) | ≤ 1.0 | {spread(ratios)} | {verdict} |"


def _load(arrivals: Arrivals, share: float) -> str:
    return f"{_NAMES[arrivals]}, {share:.0%}".replace("%", " %")


def _verdict(met: bool) -> str:
    return "met" if met else "**missed**"


def _line(row: TailRow) -> str:
    cells = [f"{median(values):.1f}" for values in (row.p50_ms, row.p99_ms, row.p999_ms)]
    cells += [f"{median(row.times(row.p50_ms)):.1f}", spread(row.times(row.p99_ms))]
    cells += [f"{median(row.times(row.p999_ms)):.1f}", f"{sum(row.requests)}", f"{sum(row.lost)}"]
    return f"| {row.title} | {' | '.join(cells)} | {median(row.late_p99_ms):.2f} |"
