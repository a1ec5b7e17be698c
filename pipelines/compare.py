"""Compare all models and select one for the quality gate: `python -m pipelines.compare`.

The architecture with the highest `selection.metric` within the limits of `selection` is selected; on a tie
the faster one, then the name that sorts first. With `selection.variants: fastest` its fastest variant is
used: an int8 variant only if it loses no more than allowed compared with the float32 model, overall and in
every class. `--print` shows the table of the last comparison instead.
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
# Column → the limit of `selection` that applies to it, and the unit in messages.
LIMITS = {
    "p50_ms": ("max_latency_ms", "ms at batch 1"),
    "size_mb": ("max_size_mb", "MB"),
}
KEYS = ("metric", "variants", "selected", "rows", *TIMING_KEYS)
"""Required keys of `reports/comparison.json`, as `read_record` expects them."""
FROM_MODEL = ("architecture", "title", "weights", "size_mb", "parameters")
# Only absorbs floating-point error (0.80 - 0.78 > 0.02); shares of pictures differ by far more.
_ROUNDING = 1e-9
_LOSSES = ("accuracy_drop", "class_drop", "class_dropped")


def compare(
    evaluations: Sequence[Mapping[str, Any]], latency: Mapping[str, Any], selection: SelectionParams
) -> dict[str, Any]:
    """Build the comparison table and select a model.

    Args:
        evaluations: one `metrics.json` per variant.
        latency: output of `latency`: `timing`, and `models`: variant → `batch_1`, `batch_16` → `p50_ms`,
            `p95_ms`, for int8 variants also `speed_up`.
        selection: metric, limits and variants.

    Returns:
        `metric`, `variants`, `timing` (when and where), `selected`, and `rows`, best first; `reason` says why
        a row is not eligible. Rows of int8 variants contain `twin` (name of the float32 model), `speed_up`,
        and their losses: `accuracy_drop`, `class_drop` and `class_dropped`, the class that loses most
        recall; in other rows these are None.

    Raises:
        SelectionError: no row is eligible.
    """
    by_name = {evaluation["architecture"]: evaluation for evaluation in evaluations}
    rows = [_row(evaluation, latency["models"][name], by_name) for name, evaluation in by_name.items()]
    for row in rows:
        row["reason"] = _ineligibility(row, selection)
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


def losses(evaluation: Mapping[str, Any], float_evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Compute what an int8 variant loses compared with the float32 model; negative if it gains.

    Args:
        evaluation: `metrics.json` of the int8 variant.
        float_evaluation: `metrics.json` of the float32 model.

    Returns:
        `accuracy_drop`; `class_drop`, the largest drop in the recall of a class, and `class_dropped`, the
        name of this class; None if no class has test pictures.
    """
    recalls = {
        name: (ours["recall"], float_evaluation["classes"][name]["recall"])
        for name, ours in evaluation["classes"].items()
    }
    drops = {
        name: theirs - ours
        for name, (ours, theirs) in recalls.items()
        if ours is not None and theirs is not None
    }
    worst = max(drops, key=lambda name: (drops[name], name), default=None)
    return {
        "accuracy_drop": round(float_evaluation["test"]["accuracy"] - evaluation["test"]["accuracy"], 6),
        "class_drop": None if worst is None else round(drops[worst], 6),
        "class_dropped": worst,
    }


def render(comparison: Mapping[str, Any], *, width: int = 108) -> str:
    """Render the table for a terminal: an arrow marks the selected row; rows not eligible have a reason."""
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
        console.print(
            "×: speed-up over the float32 model; lost: points of accuracy / recall of the worst class"
        )
        console.print(f"p50 on {Timing.from_json(comparison['timing'])}", highlight=False)
        for row in comparison["rows"]:
            if NOT_PRETRAINED in row["title"] and row["twin"] is None:
                started = f"{row['architecture']} is {row['title']}: it started from random weights"
                console.print(started, highlight=False)
        for row in comparison["rows"]:
            if not row["eligible"] and (row["twin"] is None or comparison["variants"] != "float"):
                console.print(f"{row['architecture']} is not eligible: {row['reason']}", highlight=False)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())


def read_inputs(architectures: Sequence[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Read the evaluations of all variants of `architectures`, in that order, and the output of `latency`.

    Raises:
        ResultCorrupt: a file is missing or damaged.
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
    """Compare and write the result; with `--print`, show the last result."""
    parser = argparse.ArgumentParser(description="Compare all models and select one.")
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
    float_name = architecture_of(name) if is_int8(name) else None
    lost = losses(evaluation, all_[float_name]) if float_name else dict.fromkeys(_LOSSES)
    return {
        **{name: evaluation[name] for name in FROM_MODEL},
        **{name: test[name] for name in FROM_TEST},
        "p50_ms": latency["batch_1"]["p50_ms"],
        "p95_ms": latency["batch_1"]["p95_ms"],
        "batch_16_p50_ms": latency["batch_16"]["p50_ms"],
        "twin": float_name,
        "speed_up": latency["batch_1"]["speed_up"] if float_name else None,
        **lost,
    }


def _limits(selection: SelectionParams) -> dict[str, float]:
    """Return column → configured limit."""
    values = {column: getattr(selection, key) for column, (key, _) in LIMITS.items()}
    return {column: value for column, value in values.items() if value is not None}


def _ineligibility(row: Mapping[str, Any], selection: SelectionParams) -> str | None:
    if row["twin"] is not None and selection.variants == "float":
        return "selection.variants is float"
    return "; ".join((*_over_limits(row, selection), *_over_losses(row, selection))) or None


def _over_limits(row: Mapping[str, Any], selection: SelectionParams) -> list[str]:
    return [
        f"{row[column]:.4g} {LIMITS[column][1]}, at most {limit:g} allowed"
        for column, limit in _limits(selection).items()
        if row[column] > limit
    ]


def _over_losses(row: Mapping[str, Any], selection: SelectionParams) -> Iterator[str]:
    """Describe each loss of an int8 variant that is larger than allowed."""
    allowed = {"accuracy_drop": selection.max_accuracy_drop, "class_drop": selection.max_class_drop}
    named = {"accuracy_drop": "accuracy", "class_drop": f"recall of {row['class_dropped']}"}
    for column, limit in allowed.items():
        if row[column] is not None and row[column] > limit + _ROUNDING:
            yield f"{named[column]} falls by {row[column]:.3g}, at most {limit:g} allowed"


def _none_eligible(rows: Sequence[Mapping[str, Any]], selection: SelectionParams) -> SelectionError:
    # Limits are the only reason for float rows; an int8 row may also lose too much.
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
    """Format the loss in points of accuracy, and of recall in the class that loses most."""
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
