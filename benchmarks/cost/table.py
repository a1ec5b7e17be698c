"""The Markdown of what a request costs; columns and rows say what was measured and what was reckoned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from benchmarks.cost.capacity import (
    BUSY,
    KEPT,
    PICTURE_DAYS,
    POSTGRES_ROWS_PER_S,
    REPLICA_CORES,
    RETENTION_DAYS,
    Capacity,
    capacity,
    per_core,
)
from benchmarks.cost.record import Costs, RequestCost, StorageCost

RATES = (10.0, 1_000.0, 100_000.0)
"""Requests per second."""


def tables(costs: Costs) -> Iterator[str]:
    """Lines of Markdown: processor time and memory, storage, then what three rates need."""
    yield from _requests(costs.requests)
    yield ""
    yield from _storage(costs.storage)
    yield ""
    yield from _capacities(costs)


def _requests(requests: Sequence[RequestCost]) -> Iterator[str]:
    detector = requests[0].detector
    yield (
        "| | network alone, ms (`make run`) | `faces=none`, processor ms | "
        f"faces searched ({detector}), processor ms | answering process, MiB | all processes, MiB | "
        f"*requests/s of a core at {BUSY:.0%}* |"
    )
    yield "|---|---|---|---|---|---|---|"
    yield "| | measured | measured | measured | measured | measured | *reckoned* |"
    for request in requests:
        alone = "–" if request.network_ms is None else f"{request.network_ms:.2f}"
        yield (
            f"| `{request.title}` | {alone} | {request.whole_ms:.2f} | {request.searched_ms:.2f} | "
            f"{request.answering_mib:.0f} | {request.all_mib:.0f} | *{per_core(request):.0f}* |"
        )


def _storage(storage: StorageCost) -> Iterator[str]:
    yield f"| of an observation, {storage.rows:,} written | measured |"
    yield "|---|---|"
    yield f"| bytes in SQLite, indexes included | {storage.row_bytes:.0f} |"
    yield f"| the same with the name of a kept picture | {storage.row_with_picture_bytes:.0f} |"
    yield f"| bytes of the kept picture on the disk | {storage.picture_bytes:,.0f} |"
    yield f"| rows/s into SQLite, batches of 500 | {storage.rows_per_s:,.0f} |"
    there = "[benchmarks](benchmarks.md#speed-of-the-parts)"
    yield f"| rows/s into PostgreSQL 18, batches of 500, of {there} | {POSTGRES_ROWS_PER_S:,} |"


def _capacities(costs: Costs) -> Iterator[str]:
    request = costs.requests[0]
    needs = [
        capacity(rate, request=request, storage=costs.storage, form_bytes=costs.form_bytes) for rate in RATES
    ]
    titles = " | ".join(f"*{need.per_s:,.0f}/s, reckoned*" for need in needs)
    yield f"| `{request.title}`, faces searched | {titles} | from what was measured |"
    yield f"|---|{'---|' * len(needs)}---|"
    for name, cell, origin in _rows(costs):
        cells = " | ".join(f"*{cell(need)}*" for need in needs)
        yield f"| {name} | {cells} | {origin} |"


def _rows(costs: Costs) -> Iterator[tuple[str, Callable[[Capacity], str], str]]:
    request, storage = costs.requests[0], costs.storage
    yield "cores", lambda need: _short(need.cores), f"{request.searched_ms:.2f} ms ÷ {BUSY:g}"
    yield (
        f"replicas of {REPLICA_CORES} cores",
        lambda need: f"{need.replicas:,}",
        "the machine that was measured",
    )
    yield "memory, GiB", lambda need: _short(need.memory_gib), f"{request.all_mib:.0f} MiB of a replica"
    yield "rows/s into the database", lambda need: f"{need.per_s:,.0f}", "one row of each answer"
    yield (
        "database",
        _database,
        f"SQLite {storage.rows_per_s:,.0f} rows/s, for one replica; PostgreSQL {POSTGRES_ROWS_PER_S:,}",
    )
    yield "GB a day", lambda need: _short(need.gb_per_day), f"{storage.row_bytes:.0f} bytes of a row"
    yield (
        f"GB kept after `MIEN_RETENTION_DAYS` ({RETENTION_DAYS:g})",
        lambda need: _short(need.gb_kept),
        "the default",
    )
    yield (
        f"GB of pictures with `MIEN_KEEP_IMAGES={KEPT:g}`, kept for {PICTURE_DAYS:g} days",
        lambda need: _short(need.pictures_gb),
        f"{storage.picture_bytes:,.0f} bytes of a picture; the default keeps none",
    )
    yield (
        "proxy: Gbit/s received",
        lambda need: _short(need.in_gbit_per_s),
        f"{costs.form_bytes:,} bytes of a request",
    )
    yield "bottleneck", lambda need: need.bottleneck, "the rows above"


def _database(need: Capacity) -> str:
    if need.databases == 0:
        return f"SQLite, {need.sqlite_share:.2%} busy"
    if need.databases == 1:
        return f"PostgreSQL, {need.postgres_share:.0%} busy"
    return f"{need.databases} PostgreSQL, each for a group of replicas"


def _short(value: float) -> str:
    """At least two digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"
