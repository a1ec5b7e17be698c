"""The Markdown of a soak test."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from benchmarks.soak.load import FEEDBACK, FORMS
from benchmarks.soak.processes import BRIEF
from benchmarks.soak.record import Counts, SoakRecord
from benchmarks.soak.verdict import MEMORY_LIMIT, Change, files, foreign_versions, memory, threads, windows


def tables(record: SoakRecord) -> Iterator[str]:
    """Lines of Markdown: what was run, what must hold, memory, requests."""
    yield from _heading(record)
    yield ""
    yield from _verdict(record)
    yield ""
    yield from _memory(record)
    yield from _requests(record)


def _heading(record: SoakRecord) -> Iterator[str]:
    first, second = record.models
    minutes, every_s = record.seconds / 60, record.every_s
    capacity, rate = record.capacity_per_s, record.rate_per_s
    if record.is_short:
        yield (
            f"**Shorter than asked: {record.seconds:.0f} of {record.asked_s:.0f} s.** What follows is of the "
            "part that was run.\n"
        )
    yield (
        f"{minutes:.1f} min; {first} and {second} in turn, a promotion every {every_s:g} s. A client that "
        f"sends one form after the other gets {capacity:.0f} answers/s with the slower model; the load is "
        f"{record.share:g} of that, {rate:.1f} pictures/s at random, {FORMS:.0%} of them forms "
        f"whose faces are searched ({record.detector}), the rest with `faces=none`; "
        f"{FEEDBACK:.0%} of the answers get feedback."
    )


def _verdict(record: SoakRecord) -> Iterator[str]:
    lost = record.pictures.lost + record.feedback.lost
    foreign = foreign_versions(record)
    followed = sum(swap.named_s is not None and swap.answered_s is not None for swap in record.swaps)
    yield "| | got | wanted | |"
    yield "|---|---|---|---|"
    yield _row("requests lost", f"{lost}", "0", lost == 0)
    yield _row("answers by a version that is neither of the two", f"{foreign}", "0", foreign == 0)
    every = len(record.swaps)
    yield _row("promotions followed", f"{followed}", f"{every}", followed == every)
    grown, wanted = memory(record), f"≤ {MEMORY_LIMIT:+.0%}"
    for change in grown:
        yield _row(
            f"memory, process that {change.role}",
            f"{change.growth:+.1%}",
            wanted,
            change.growth <= MEMORY_LIMIT,
        )
    if not grown:
        yield f"| growth of memory | too short to be judged | {wanted} | – |"
    written, least = record.rows_after - record.rows_before, record.pictures.answered
    # A picture that was classified after its deadline is refused and recorded.
    most = least + record.pictures.refused
    wanted = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    yield _row("observations written", f"{written:,}", wanted, least <= written <= most)
    stored, corrected = record.feedback_rows, record.feedback.answered
    yield _row("feedback stored", f"{stored:,}", f"{corrected:,}", stored == corrected)


def _row(name: str, got: str, wanted: str, met: bool) -> str:
    return f"| {name} | {got} | {wanted} | {'met' if met else '**missed**'} |"


def _memory(record: SoakRecord) -> Iterator[str]:
    if not memory(record):
        return
    spans = windows(record.seconds, every_s=record.every_s)
    yield (
        f"Means from {_minutes(spans.first[0])} to {_minutes(spans.first[1])} and of the last "
        f"{_minutes(spans.last[1] - spans.last[0])}; memory is the proportional set size.\n"
    )
    yield "| process that | memory, MiB | growth | open files | threads |"
    yield "|---|---|---|---|---|"
    rows = zip(memory(record), files(record), threads(record), strict=True)
    for change, opened, running in rows:
        yield (
            f"| {change.role} | {_both(change)} | {change.growth:+.1%} | {_both(opened)} | {_both(running)} |"
        )
    for role in BRIEF:
        seen = [use.memory_mib for sample in record.samples for use in sample.processes if use.role == role]
        if seen:
            yield f"| {role}, for seconds at a time | at most {max(seen):.0f} | – | – | – |"
    yield ""


def _both(change: Change) -> str:
    return f"{change.before:.1f} → {change.after:.1f}"


def _requests(record: SoakRecord) -> Iterator[str]:
    yield "| | sent | answered 200 | refused | lost |"
    yield "|---|---|---|---|---|"
    yield _counts("pictures", record.pictures)
    yield _counts("feedback", record.feedback)
    yield ""
    tail = record.tail
    yield (
        f"* latency of pictures, from when they were due: p50 {tail.p50_ms:.1f} ms, p99 {tail.p99_ms:.1f} "
        f"ms, p99.9 {tail.p999_ms:.1f} ms"
    )
    late = max((interval.late_p99_ms for interval in record.intervals), default=0.0)
    yield f"* sent late by the generator: p99 of the worst interval {late:.2f} ms"
    yield f"* from the promotion to the first answer by the new version: {_spread_s(_answered(record))}"
    yield f"* from the promotion until `GET /model` named it: {_spread_s(_named(record))}"
    if record.samples:
        last = record.samples[-1]
        yield f"* database at the end: {last.rows:,} rows, {last.database_bytes / 1e6:.1f} MB with its log"


def _answered(record: SoakRecord) -> list[float]:
    return [swap.answered_s for swap in record.swaps if swap.answered_s is not None]


def _named(record: SoakRecord) -> list[float]:
    return [swap.named_s for swap in record.swaps if swap.named_s is not None]


def _spread_s(values: Sequence[float]) -> str:
    if not values:
        return "no promotion"
    return f"median {statistics.median(values):.2f} s, longest {max(values):.2f} s"


def _counts(name: str, counts: Counts) -> str:
    return f"| {name} | {counts.sent:,} | {counts.answered:,} | {counts.refused:,} | {counts.lost:,} |"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"
