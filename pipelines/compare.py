"""One table of all architectures, and which goes to the gate: `python -m pipelines.compare` (a second).

The highest `selection.metric` wins among those within the limits of `selection`; a tie goes to the
faster one, then to the name that sorts first. `--print` shows the table of the last comparison instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines import layout
from pipelines.errors import SelectionError
from pipelines.files import write_json
from pipelines.params import SelectionParams, load_params
from pipelines.records import read_record
from pipelines.stage import run_stage

FROM_TEST = (
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "macro_f1",
    "macro_f1_low",
    "macro_f1_high",
    "balanced_accuracy",
    "ece",
)
# What a limit of `selection` is held against, and how it is named to people.
LIMITS = {
    "p50_ms": ("max_latency_ms", "ms at batch 1"),
    "size_mb": ("max_size_mb", "MB"),
}
FROM_MODEL = ("architecture", "title", "weights", "size_mb", "parameters")


def compare(
    evaluations: Sequence[Mapping[str, Any]], latencies: Mapping[str, Any], selection: SelectionParams
) -> dict[str, Any]:
    """Build the table and select.

    Args:
        evaluations: one `metrics.json` per architecture.
        latencies: architecture → `batch_1`, `batch_16` → `p50_ms`, `p95_ms`.
        selection: metric and limits.

    Returns:
        `metric`, `selected`, and `rows`, best first; a row that is over a limit says so in `reason`.

    Raises:
        SelectionError: every row is over a limit.
    """
    rows = [_row(evaluation, latencies[evaluation["architecture"]]) for evaluation in evaluations]
    for row in rows:
        row["reason"] = _over_limit(row, selection)
        row["eligible"] = row["reason"] is None
    rows.sort(key=lambda row: (-row[selection.metric], row["p50_ms"], row["architecture"]))
    eligible = [row for row in rows if row["eligible"]]
    if not eligible:
        raise _none_eligible(rows, selection)
    return {"metric": selection.metric, "selected": eligible[0]["architecture"], "rows": rows}


def render(comparison: Mapping[str, Any], *, width: int = 108) -> str:
    """The table as text for a terminal; the selected row has an arrow, passed-over ones their reason."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    title = f"Test split, best {_label(comparison['metric'])} first; intervals are 95 %"
    table = Table(
        title=title,
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    table.add_column("")
    table.add_column("architecture", no_wrap=True)
    table.add_column("weights", overflow="fold", min_width=8)
    for heading in ("accuracy", "macro-F1", "balanced", "ECE", "p50 ms", "MB", "M params"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in comparison["rows"]:
        table.add_row("→" if row["architecture"] == comparison["selected"] else "", *_cells(row))
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(table)
        for row in comparison["rows"]:
            if not row["eligible"]:
                console.print(f"{row['architecture']} is passed over: {row['reason']}", highlight=False)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())


def read_inputs(architectures: Sequence[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Evaluations and latencies of exactly `architectures`, in that order.

    Raises:
        ResultCorrupt: one is missing or damaged.
    """
    keys = [*FROM_MODEL, *(f"test.{name}" for name in FROM_TEST)]
    evaluations = [
        read_record(layout.evaluation_metrics(name), keys=keys, stage=f"evaluate@{name}")
        for name in architectures
    ]
    wanted = [
        f"models.{name}.{batch}.{quantile}"
        for name in architectures
        for batch in ("batch_1", "batch_16")
        for quantile in ("p50_ms", "p95_ms")
    ]
    latencies: dict[str, Any] = read_record(layout.LATENCY, keys=wanted, stage="latency")["models"]
    return evaluations, latencies


def main() -> None:
    """Compare and write; or, with `--print`, show what was written."""
    parser = argparse.ArgumentParser(description="One table of all architectures, and the selected one.")
    parser.add_argument("--print", action="store_true", help="show the last comparison, compute nothing")
    if parser.parse_args().print:
        keys = ["metric", "selected", "rows"]
        print(render(read_record(layout.COMPARISON, keys=keys, stage="compare")))
        return
    params = load_params()
    comparison = compare(*read_inputs(params.architectures), params.selection)
    write_json(layout.COMPARISON, comparison)
    print(render(comparison))


def _row(evaluation: Mapping[str, Any], latency: Mapping[str, Any]) -> dict[str, Any]:
    test = evaluation["test"]
    return {
        **{name: evaluation[name] for name in FROM_MODEL},
        **{name: test[name] for name in FROM_TEST},
        "p50_ms": latency["batch_1"]["p50_ms"],
        "p95_ms": latency["batch_1"]["p95_ms"],
        "batch_16_p50_ms": latency["batch_16"]["p50_ms"],
    }


def _limits(selection: SelectionParams) -> dict[str, float]:
    """Column → the limit that is set for it."""
    values = {column: getattr(selection, key) for column, (key, _) in LIMITS.items()}
    return {column: value for column, value in values.items() if value is not None}


def _over_limit(row: Mapping[str, Any], selection: SelectionParams) -> str | None:
    over = [
        f"{row[column]:.4g} {LIMITS[column][1]}, at most {limit:g} allowed"
        for column, limit in _limits(selection).items()
        if row[column] > limit
    ]
    return "; ".join(over) or None


def _none_eligible(rows: Sequence[Mapping[str, Any]], selection: SelectionParams) -> SelectionError:
    limits = _limits(selection)
    nearest = min(rows, key=lambda row: max(row[column] / limit for column, limit in limits.items()))
    return SelectionError(
        limits=" and ".join(f"selection.{LIMITS[column][0]} {limit:g}" for column, limit in limits.items()),
        nearest=nearest["architecture"],
        reason=nearest["reason"],
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        row["architecture"],
        row["weights"],
        _with_interval(row, "accuracy"),
        _with_interval(row, "macro_f1"),
        f"{row['balanced_accuracy']:.3f}",
        f"{row['ece']:.3f}",
        f"{row['p50_ms']:.2f}",
        f"{row['size_mb']:.1f}",
        f"{row['parameters'] / 1e6:.2f}",
    ]


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    spread = "" if low is None else f" {low:.2f}–{high:.2f}"
    return f"{row[name]:.3f}{spread}"


def _label(metric: str) -> str:
    return {"macro_f1": "macro-F1", "balanced_accuracy": "balanced accuracy"}.get(metric, metric)


if __name__ == "__main__":
    run_stage(main)
