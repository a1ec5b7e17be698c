"""Prefect artifacts of a run: the comparison as a table, the gate's decision, failed expectations."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import quote

from pipelines.core import paths
from pipelines.core.data_results import ValidationReport
from pipelines.core.records import read_record
from pipelines.core.results import ComparisonRow, read_comparison
from pipelines.gate.record import read_verdict
from pipelines.gate.rules import Check
from pipelines.metrics.summary import METRICS
from pipelines.register.status import Decision
from serving.urls import SecretUrl

COMPARISON = "training-comparison"
VERDICT = "training-verdict"
VALIDATION = "training-validation"


def publish(
    root: Path, current: Collection[Path], decision: Decision | None, *, tracking_uri: str, report: str
) -> None:
    """Create an artifact from each result of this run.

    Args:
        root: of the clone, which may also hold results of an earlier run.
        current: results of this run.
        decision: of the gate in this run; None if it did not run.
        tracking_uri: of MLflow; only a server has pages to link to.
        report: Markdown that links to the report.
    """
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    if paths.COMPARISON in current:
        comparison = read_comparison(root)
        table = [comparison_row(row, comparison.selected) for row in comparison.rows]
        metric = METRICS[comparison.metric].title
        best = f"Test split, best {metric} first; {comparison.selected} goes to the gate"
        timed = f"p50 on {comparison.timing}"
        create_table_artifact(table, key=COMPARISON, description=f"{best}. {timed}")
    if decision is not None:
        checks = read_verdict(root / paths.GATE).checks
        text = verdict(decision, checks, tracking_uri=tracking_uri, report=report)
        create_markdown_artifact(text, key=VERDICT)
    if paths.VALIDATION_REPORT in current:
        validation = read_record(root / paths.VALIDATION_REPORT, ValidationReport, stage="validate")
        create_markdown_artifact(expectations(validation), key=VALIDATION)


def comparison_row(row: ComparisonRow, selected: str) -> dict[str, str]:
    """One variant, with the columns of the terminal's table and all metrics."""
    return {
        "architecture": ("→ " if row.architecture == selected else "") + row.architecture,
        "weights": row.weights,
        **{score.metric.heading: score.text(" ({low:.2f}–{high:.2f})") for score in row.scores()},
        "p50 ms": f"{row.p50_ms:.2f}",
        "MB": f"{row.size_mb:.1f}",
        "passed over": row.reason or "",
    }


def verdict(decision: Decision, checks: Sequence[Check], *, tracking_uri: str, report: str) -> str:
    """The gate's decision with every check, as Markdown."""
    title = "passed the quality gate" if decision.passed else "did not pass the quality gate"
    if decision.held:
        title = "is held: the quality gate could not show that it is not worse than production"
    lines = [f"## {decision.architecture} {title}", ""]
    lines += [f"* {reason}" for reason in decision.reasons]
    lines += ["", f"**Registered:** {_registered(decision, tracking_uri)}  ", f"**Report:** {report}", ""]
    lines += ["| state | check | value | threshold | production |", "|---|---|---|---|---|"]
    lines += [_check(check) for check in checks]
    return "\n".join(lines)


def expectations(validation: ValidationReport) -> str:
    """The expectations that the data do not meet, as Markdown."""
    broken = [check for check in validation.checks if not check.passed]
    held = len(validation.checks) - len(broken)
    lines = [f"## {held} of {len(validation.checks)} expectations about the data hold", ""]
    lines += [f"* **{check.severity}**: {check.message}" for check in broken]
    return "\n".join(lines)


def _registered(decision: Decision, tracking_uri: str) -> str:
    if decision.problem is not None:
        return f"unknown: {decision.problem}"
    if decision.version is None or decision.model is None:
        return "no"
    version = f"{decision.model} version {decision.version.number}"
    if tracking_uri.startswith("http"):
        address = f"{SecretUrl(tracking_uri).public}/#/models/{quote(decision.model)}"
        version = f"[{version}]({address}/versions/{decision.version.number})"
    return f"{version} ({decision.aliases}{'; new' if decision.new else ''})"


def _check(check: Check) -> str:
    cells: Sequence[object] = [check.value, check.threshold, check.production]
    numbers = " | ".join("" if cell is None else f"{cell:.4g}" for cell in cells)
    mark = {"passed": "✓", "unclear": "?", "failed": "✗"}[check.state]
    return f"| {mark} | {check.reason} | {numbers} |"
