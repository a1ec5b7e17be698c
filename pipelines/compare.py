"""Compare all models and select one for the quality gate: `python -m pipelines.compare`.

The architecture with the highest `selection.metric` within the limits of `selection` is selected; on a tie
the faster one, then the name that sorts first. With `selection.variants: fastest` its fastest variant is
used: an int8 variant only if it loses no more than allowed compared with the float32 model, overall and in
every class. `--print` shows the table of the last comparison instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from pipelines.core import paths
from pipelines.core.cli import run_stage
from pipelines.core.errors import ResultCorrupt, SelectionError
from pipelines.core.params import SelectionParams, load_params
from pipelines.core.records import write_record
from pipelines.core.results import (
    Comparison,
    ComparisonRow,
    Evaluation,
    Latencies,
    Losses,
    VariantTimes,
    read_comparison,
    read_evaluation,
    read_latencies,
)
from pipelines.core.variants import NOT_PRETRAINED, all_variants, architecture_of, is_int8
from pipelines.metrics.summary import METRICS, ComparedScores

# Column → the limit of `selection` that applies to it, and the unit in messages.
LIMITS = {
    "p50_ms": ("max_latency_ms", "ms at batch 1"),
    "size_mb": ("max_size_mb", "MB"),
}
# Only absorbs floating-point error (0.80 - 0.78 > 0.02); shares of pictures differ by far more.
_ROUNDING = 1e-9


def compare(
    evaluations: Sequence[Evaluation], latencies: Latencies, selection: SelectionParams
) -> Comparison:
    """Build the comparison table and select a model.

    Args:
        evaluations: metrics of every variant.
        latencies: times of the same variants.
        selection: metric, limits and variants.

    Raises:
        SelectionError: no row is eligible.
    """
    by_name = {evaluation.architecture: evaluation for evaluation in evaluations}
    rows = [_row(one, latencies.models[name], by_name, selection) for name, one in by_name.items()]
    rows.sort(key=lambda row: (-(row.score(selection.metric).value or 0), row.p50_ms, row.architecture))
    eligible = [row for row in rows if row.eligible]
    if not eligible:
        raise _none_eligible(rows, selection)
    best = architecture_of(eligible[0].architecture)
    variants = [row for row in eligible if architecture_of(row.architecture) == best]
    selected = min(variants, key=lambda row: (row.p50_ms, row.architecture))
    return Comparison(
        metric=selection.metric,
        variants=selection.variants,
        timing=latencies.timing,
        selected=selected.architecture,
        rows=tuple(rows),
    )


def losses(evaluation: Evaluation, float_evaluation: Evaluation) -> Losses:
    """Compute what an int8 variant loses compared with the float32 model."""
    recalls = {
        name: (ours.recall, float_evaluation.classes[name].recall)
        for name, ours in evaluation.classes.items()
    }
    drops = {
        name: theirs - ours
        for name, (ours, theirs) in recalls.items()
        if ours is not None and theirs is not None
    }
    worst = max(drops, key=lambda name: (drops[name], name), default=None)
    accuracy, float_accuracy = evaluation.test.accuracy, float_evaluation.test.accuracy
    return Losses(
        accuracy_drop=None
        if accuracy is None or float_accuracy is None
        else round(float_accuracy - accuracy, 6),
        class_drop=None if worst is None else round(drops[worst], 6),
        class_dropped=worst,
    )


def render(comparison: Comparison, *, width: int = 108) -> str:
    """Render the table for a terminal: an arrow marks the selected row; rows not eligible have a reason."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    best = METRICS[comparison.metric].title
    table = Table(
        title=f"Test split, best {best} first; intervals are 95 %",
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    table.add_column("")
    table.add_column("architecture", no_wrap=True)
    table.add_column("weights", overflow="fold", min_width=8)
    shown = [score.metric.heading for score in comparison.rows[0].scores() if score.metric.terminal]
    for heading in (*shown, "p50 ms", "×", "lost", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in comparison.rows:
        table.add_row("→" if row.architecture == comparison.selected else "", *_cells(row))
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(table)
        console.print(
            "×: speed-up over the float32 model; lost: points of accuracy / recall of the worst class"
        )
        console.print(f"p50 on {comparison.timing}", highlight=False)
        for row in comparison.rows:
            if NOT_PRETRAINED in row.title and row.twin is None:
                started = f"{row.architecture} is {row.title}: it started from random weights"
                console.print(started, highlight=False)
        for row in comparison.rows:
            if not row.eligible and (row.twin is None or comparison.variants != "float"):
                console.print(f"{row.architecture} is not eligible: {row.reason}", highlight=False)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())


def read_inputs(root: Path, architectures: Sequence[str]) -> tuple[list[Evaluation], Latencies]:
    """Read the evaluations of all variants of `architectures`, in that order, and the output of `latency`.

    Raises:
        ResultCorrupt: a file is missing or damaged, or a variant was not timed.
    """
    names = all_variants(architectures)
    evaluations = [read_evaluation(root, name) for name in names]
    latencies = read_latencies(root)
    for name in names:
        times = latencies.models.get(name)
        if times is None or (is_int8(name) and times.batch_1.speed_up is None):
            reason = f"no times of {name}" if times is None else f"no speed-up of {name}"
            raise ResultCorrupt(path=root / paths.LATENCY, reason=reason, stage="latency")
    return evaluations, latencies


def main() -> None:
    """Compare and write the result; with `--print`, show the last result."""
    parser = argparse.ArgumentParser(description="Compare all models and select one.")
    parser.add_argument("--print", action="store_true", help="show the last comparison, compute nothing")
    if parser.parse_args().print:
        print(render(read_comparison(Path())))
        return
    params = load_params()
    comparison = compare(*read_inputs(Path(), params.architectures), params.selection)
    write_record(paths.COMPARISON, comparison)
    print(render(comparison))


def _row(
    evaluation: Evaluation,
    times: VariantTimes,
    evaluations: Mapping[str, Evaluation],
    selection: SelectionParams,
) -> ComparisonRow:
    name = evaluation.architecture
    float_name = architecture_of(name) if is_int8(name) else None
    lost = losses(evaluation, evaluations[float_name]) if float_name else Losses()
    row = ComparisonRow(
        architecture=name,
        title=evaluation.title,
        weights=evaluation.weights,
        size_mb=evaluation.size_mb,
        parameters=evaluation.parameters,
        **{field.name: getattr(evaluation.test, field.name) for field in fields(ComparedScores)},
        p50_ms=times.batch_1.p50_ms,
        p95_ms=times.batch_1.p95_ms,
        batch_16_p50_ms=times.batch_16.p50_ms,
        twin=float_name,
        speed_up=times.batch_1.speed_up if float_name else None,
        **vars(lost),
        reason=None,
        eligible=True,
    )
    reason = _ineligibility(row, selection)
    return replace(row, reason=reason, eligible=reason is None)


def _limits(selection: SelectionParams) -> dict[str, float]:
    """Return column → configured limit."""
    values = {column: getattr(selection, key) for column, (key, _) in LIMITS.items()}
    return {column: value for column, value in values.items() if value is not None}


def _ineligibility(row: ComparisonRow, selection: SelectionParams) -> str | None:
    if row.twin is not None and selection.variants == "float":
        return "selection.variants is float"
    return "; ".join((*_over_limits(row, selection), *_over_losses(row, selection))) or None


def _over_limits(row: ComparisonRow, selection: SelectionParams) -> list[str]:
    return [
        f"{value:.4g} {LIMITS[column][1]}, at most {limit:g} allowed"
        for column, limit in _limits(selection).items()
        if (value := getattr(row, column)) > limit
    ]


def _over_losses(row: ComparisonRow, selection: SelectionParams) -> Iterator[str]:
    """Describe each loss of an int8 variant that is larger than allowed."""
    for lost, named, limit in (
        (row.accuracy_drop, "accuracy", selection.max_accuracy_drop),
        (row.class_drop, f"recall of {row.class_dropped}", selection.max_class_drop),
    ):
        if lost is not None and lost > limit + _ROUNDING:
            yield f"{named} falls by {lost:.3g}, at most {limit:g} allowed"


def _none_eligible(rows: Sequence[ComparisonRow], selection: SelectionParams) -> SelectionError:
    # Limits are the only reason for float rows; an int8 row may also lose too much.
    rows = [row for row in rows if row.twin is None]
    limits = _limits(selection)
    nearest = min(rows, key=lambda row: max(getattr(row, column) / limit for column, limit in limits.items()))
    return SelectionError(
        limits=" and ".join(f"selection.{LIMITS[column][0]} {limit:g}" for column, limit in limits.items()),
        nearest=nearest.architecture,
        reason=str(nearest.reason),
    )


def _cells(row: ComparisonRow) -> list[str]:
    return [
        row.architecture,
        row.weights,
        *(score.text(" {low:.2f}–{high:.2f}") for score in row.scores() if score.metric.terminal),
        f"{row.p50_ms:.2f}",
        "" if row.speed_up is None else f"{row.speed_up:.2f}",
        _lost(row),
        f"{row.size_mb:.1f}",
    ]


def _lost(row: ComparisonRow) -> str:
    """Format the loss in points of accuracy, and of recall in the class that loses most."""
    drops = (row.accuracy_drop, row.class_drop)
    return "/".join("–" if drop is None else f"{100 * drop:.1f}" for drop in drops) if row.twin else ""


if __name__ == "__main__":
    run_stage(main)
