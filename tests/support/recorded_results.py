"""Whether the results that git keeps agree: one figure has one owner and the same value in every copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.core import paths
from tests.support.files import read_json


def contradictions(root: Path) -> list[str]:
    """What the files of one project say differently from the file that owns the figure."""
    machine, latency, comparison, gate = (
        read_json(root / path) for path in (paths.MACHINE, paths.LATENCY, paths.COMPARISON, paths.GATE)
    )
    pairs = [
        *_machine(machine, latency, comparison, gate),
        *_times(latency, comparison, gate),
        *_selected(root, comparison, gate),
    ]
    return [f"{what}: {copy!r}, but its owner says {owner!r}" for what, copy, owner in pairs if copy != owner]


def _machine(machine: Any, latency: Any, comparison: Any, gate: Any) -> Iterator[tuple[str, object, object]]:
    yield "machine of latency.json", latency["timing"]["machine"], machine
    yield "timing of comparison.json", comparison["timing"], latency["timing"]
    yield "timing of gate.json", gate["latency"]["timing"], latency["timing"]


def _times(latency: Any, comparison: Any, gate: Any) -> Iterator[tuple[str, object, object]]:
    yield "variants", sorted(row["architecture"] for row in comparison["rows"]), sorted(latency["models"])
    for row in comparison["rows"]:
        owner = latency["models"][row["architecture"]]
        copy = (row["p50_ms"], row["p95_ms"], row["batch_16_p50_ms"])
        times = (owner["batch_1"]["p50_ms"], owner["batch_1"]["p95_ms"], owner["batch_16"]["p50_ms"])
        yield f"times of {row['architecture']} in comparison.json", copy, times
    p50_ms = latency["models"][gate["architecture"]]["batch_1"]["p50_ms"]
    yield "p50 of gate.json", gate["latency"]["p50_ms"], p50_ms
    for check in gate["checks"]:
        if check["name"] == "max_latency_ms":
            yield "max_latency_ms of gate.json", check["value"], p50_ms


def _selected(root: Path, comparison: Any, gate: Any) -> Iterator[tuple[str, object, object]]:
    name = comparison["selected"]
    yield "architecture of gate.json", gate["architecture"], name
    record = read_json(root / paths.export_record(name))
    yield "sha256 of gate.json", gate["sha256"], record["sha256"]
    for row in comparison["rows"]:
        test = read_json(root / paths.evaluation_metrics(row["architecture"]))["test"]
        scores = ("accuracy", "macro_f1", "ece")
        yield (
            f"scores of {row['architecture']} in comparison.json",
            [row[score] for score in scores],
            [test[score] for score in scores],
        )
