"""One table of all models, and which goes to the gate: `python -m pipelines.compare`.

The architecture with the highest `selection.metric` wins among those within the limits of `selection`; a tie
goes to the faster one, then to the name that sorts first. With `selection.variants: fastest` its fastest
variant is taken: an int8 one only if it is faithful, that is, loses no more than allowed against its float
twin, overall and in every class. `--print` shows the table of the last comparison instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.core import paths
from pipelines.core.cli import run_stage
from pipelines.core.errors import SelectionError
from pipelines.core.io import read_record, write_json
from pipelines.core.params import SelectionParams, load_params
from pipelines.core.variants import NOT_PRETRAINED, all_variants, architecture_of, is_int8
from pipelines.evaluate.timing import TIMING_KEYS, Timing

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
KEYS = ("metric", "variants", "selected", "rows", *TIMING_KEYS)
"""What `reports/comparison.json` must have, as `read_record` takes it."""
FROM_MODEL = ("architecture", "title", "weights", "size_mb", "parameters")
# Shares of whole pictures differ by far more; this only absorbs binary fractions (0.80 - 0.78 > 0.02).
_ROUNDING = 1e-9
_LOSSES = ("accuracy_drop", "class_drop", "class_dropped")


def compare(
    evaluations: Sequence[Mapping[str, Any]], latency: Mapping[str, Any], selection: SelectionParams
) -> dict[str, Any]:
    """Build the table and select.

    Args:
        evaluations: one `metrics.json` per variant.
        latency: what `latency` wrote: `timing`, and `models`: variant → `batch_1`, `batch_16` → `p50_ms`,
            `p95_ms`, of int8 ones `speed_up`.
        selection: metric, limits, which variants.

    Returns:
        `metric`, `variants`, `timing` (when and where), `selected`, and `rows`, best first; one that may not
        be selected says why in `reason`. Rows of int8 variants hold `twin`, `speed_up`, and what they lose:
        `accuracy_drop`, `class_drop` and `class_dropped`, the class that loses most recall; the others None
        there.

    Raises:
        SelectionError: no row may be selected.
    """
    by_name = {evaluation["architecture"]: evaluation for evaluation in evaluations}
    rows = [_row(evaluation, latency["models"][name], by_name) for name, evaluation in by_name.items()]
    for row in rows:
        row["reason"] = _passed_over(row, selection)
        row["eligible"] = row["reason"] is None
    rows.sort(key=lambda row: (-row[selection.metric], row["p50_ms"], row["architecture"]))
    eligible = [row for row in rows if row["eligible"]]
    if not eligible:
        raise _none_eligible(rows, selection)
    best = architecture_of(eligible[0]["architecture"])
    variants = [row for row in eligible if architecture_of(row["architecture"]) == best]
    selected = min(variants, key=lambda row: (row["p50_ms"], row["architecture"]))
    return {
        "metric": selection.metric,
        "variants": selection.variants,
        "timing": latency["timing"],
        "selected": selected["architecture"],
        "rows": rows,
    }


def losses(evaluation: Mapping[str, Any], twin: Mapping[str, Any]) -> dict[str, Any]:
    """What one variant's `metrics.json` has less than its twin's; negative where it has more.

    Returns:
        `accuracy_drop`, and of the class that loses most `class_drop`, in recall, and `class_dropped`, its
        name; None where no class has test pictures.
    """
    recalls = {
        name: (ours["recall"], twin["classes"][name]["recall"])
        for name, ours in evaluation["classes"].items()
    }
    drops = {
        name: theirs - ours
        for name, (ours, theirs) in recalls.items()
        if ours is not None and theirs is not None
    }
    worst = max(drops, key=lambda name: (drops[name], name), default=None)
    return {
        "accuracy_drop": round(twin["test"]["accuracy"] - evaluation["test"]["accuracy"], 6),
        "class_drop": None if worst is None else round(drops[worst], 6),
        "class_dropped": worst,
    }


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
    for heading in ("accuracy", "macro-F1", "ECE", "p50 ms", "×", "lost", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in comparison["rows"]:
        table.add_row("→" if row["architecture"] == comparison["selected"] else "", *_cells(row))
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(table)
        console.print("×: as fast as its float twin; lost: points of accuracy / recall of the worst class")
        console.print(f"p50 on {Timing.from_json(comparison['timing'])}", highlight=False)
        for row in comparison["rows"]:
            if NOT_PRETRAINED in row["title"] and row["twin"] is None:
                started = f"{row['architecture']} is {row['title']}: it started from random weights"
                console.print(started, highlight=False)
        for row in comparison["rows"]:
            if not row["eligible"] and (row["twin"] is None or comparison["variants"] != "float"):
                console.print(f"{row['architecture']} is passed over: {row['reason']}", highlight=False)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())


def read_inputs(architectures: Sequence[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Evaluations of exactly the variants of `architectures`, in that order, and what `latency` wrote.

    Raises:
        ResultCorrupt: one is missing or damaged.
    """
    keys = [*FROM_MODEL, "classes", *(f"test.{name}" for name in FROM_TEST)]
    names = all_variants(architectures)
    evaluations = [
        read_record(paths.evaluation_metrics(name), keys=keys, stage=f"evaluate@{architecture_of(name)}")
        for name in names
    ]
    figures = [
        f"models.{name}.{batch}.{figure}"
        for name in names
        for batch in ("batch_1", "batch_16")
        for figure in ("p50_ms", "p95_ms", *(("speed_up",) if is_int8(name) else ()))
    ]
    return evaluations, read_record(paths.LATENCY, keys=[*TIMING_KEYS, *figures], stage="latency")


def main() -> None:
    """Compare and write; or, with `--print`, show what was written."""
    parser = argparse.ArgumentParser(description="One table of all models, and the selected one.")
    parser.add_argument("--print", action="store_true", help="show the last comparison, compute nothing")
    if parser.parse_args().print:
        print(render(read_record(paths.COMPARISON, keys=KEYS, stage="compare")))
        return
    params = load_params()
    comparison = compare(*read_inputs(params.architectures), params.selection)
    write_json(paths.COMPARISON, comparison)
    print(render(comparison))


def _row(
    evaluation: Mapping[str, Any], latency: Mapping[str, Any], all_: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    test, name = evaluation["test"], evaluation["architecture"]
    twin = architecture_of(name) if is_int8(name) else None
    lost = losses(evaluation, all_[twin]) if twin else dict.fromkeys(_LOSSES)
    return {
        **{name: evaluation[name] for name in FROM_MODEL},
        **{name: test[name] for name in FROM_TEST},
        "p50_ms": latency["batch_1"]["p50_ms"],
        "p95_ms": latency["batch_1"]["p95_ms"],
        "batch_16_p50_ms": latency["batch_16"]["p50_ms"],
        "twin": twin,
        "speed_up": latency["batch_1"]["speed_up"] if twin else None,
        **lost,
    }


def _limits(selection: SelectionParams) -> dict[str, float]:
    """Column → the limit that is set for it."""
    values = {column: getattr(selection, key) for column, (key, _) in LIMITS.items()}
    return {column: value for column, value in values.items() if value is not None}


def _passed_over(row: Mapping[str, Any], selection: SelectionParams) -> str | None:
    if row["twin"] is not None and selection.variants == "float":
        return "selection.variants is float"
    return "; ".join((*_over_limits(row, selection), *_unfaithful(row, selection))) or None


def _over_limits(row: Mapping[str, Any], selection: SelectionParams) -> list[str]:
    return [
        f"{row[column]:.4g} {LIMITS[column][1]}, at most {limit:g} allowed"
        for column, limit in _limits(selection).items()
        if row[column] > limit
    ]


def _unfaithful(row: Mapping[str, Any], selection: SelectionParams) -> Iterator[str]:
    """What an int8 variant loses too much of."""
    allowed = {"accuracy_drop": selection.max_accuracy_drop, "class_drop": selection.max_class_drop}
    named = {"accuracy_drop": "accuracy", "class_drop": f"recall of {row['class_dropped']}"}
    for column, most in allowed.items():
        if row[column] is not None and row[column] > most + _ROUNDING:
            yield f"{named[column]} falls by {row[column]:.3g}, at most {most:g} allowed"


def _none_eligible(rows: Sequence[Mapping[str, Any]], selection: SelectionParams) -> SelectionError:
    # A float row has no other reason to be passed over; an int8 one may only be unfaithful.
    rows = [row for row in rows if row["twin"] is None]
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
        f"{row['ece']:.3f}",
        f"{row['p50_ms']:.2f}",
        "" if row["speed_up"] is None else f"{row['speed_up']:.2f}",
        _lost(row),
        f"{row['size_mb']:.1f}",
    ]


def _lost(row: Mapping[str, Any]) -> str:
    """Points of accuracy, and of recall in the class that loses most."""
    if row["twin"] is None:
        return ""
    worst = "–" if row["class_drop"] is None else f"{100 * row['class_drop']:.1f}"
    return f"{100 * row['accuracy_drop']:.1f}/{worst}"


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    spread = "" if low is None else f" {low:.2f}–{high:.2f}"
    return f"{row[name]:.3f}{spread}"


def _label(metric: str) -> str:
    return {"macro_f1": "macro-F1", "balanced_accuracy": "balanced accuracy"}.get(metric, metric)


if __name__ == "__main__":
    run_stage(main)
