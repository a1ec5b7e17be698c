"""The summary that `make run` prints at its end, from the record of the run and the registry.

A run that reached the comparison shows it, the result of the quality gate and the registered version. A
failed run ends with the stage that failed and the reason; results of an earlier run are mentioned as such,
not shown.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from pipelines.compare import render
from pipelines.core import paths
from pipelines.core.results import read_comparison
from pipelines.gate.record import read_verdict
from pipelines.gate.remedies import remedies
from pipelines.register.status import RegistryStatus, decide
from pipelines.run_record import RunRecord, maker

VERDICT = "verdict"
"""The stage of dvc.yaml that fails if the quality gate rejected the model."""

_NEXT = """  make serve                    start the service and its page on port 8000
  make ui                       show runs, versions and promotion in MLflow
  make help                     list all other commands
  source .venv/bin/activate     once per terminal, for dvc, python, mlflow and prefect
  git commit -am "Trained"      record these results in git
  dvc exp run -S models.lenet.epochs=40 && dvc exp show    try a value; registers nothing"""
_GUIDE = "docs/troubleshooting.md"
_HASH = 10
"""Digits of a commit that are shown."""


def summary(
    root: Path, record: RunRecord, *, before: RegistryStatus | None, ask: Callable[[], RegistryStatus]
) -> str:
    """Build the text printed after a run.

    Args:
        root: the checkout.
        record: record of the finished run.
        before: registry status before the run; None if the registry could not be reached.
        ask: reads the registry status now; may raise `RegistryError`.
    """
    parts = [
        *_compared(root, record),
        *_judged(root, record, before=before, ask=ask),
        *_report(root, record),
        *_next(root, record),
        *_failure(root, record),
    ]
    return "\n\n".join(parts)


def activity(record: RunRecord) -> str:
    """Say how many stages ran or were restored."""
    if not record.active:
        return f"Everything is up to date: none of {len(record.states)} stages had to run."
    return f"{len(record.active)} of {len(record.states)} stages had to run."


def _is_current(root: Path, record: RunRecord, result: Path) -> bool:
    """Whether a result is current: its stage made it in this run, or found it up to date."""
    stage = maker(root, result)
    return stage is not None and record.is_current(stage) and (root / result).exists()


def _compared(root: Path, record: RunRecord) -> Iterator[str]:
    if _is_current(root, record, paths.COMPARISON):
        yield render(read_comparison(root))
    elif (root / paths.COMPARISON).exists():
        yield (
            f"{paths.COMPARISON} holds results of an earlier run ({_origin(root, paths.COMPARISON)}); "
            "`python -m pipelines.compare --print` shows them."
        )


def _judged(
    root: Path, record: RunRecord, *, before: RegistryStatus | None, ask: Callable[[], RegistryStatus]
) -> Iterator[str]:
    if _is_current(root, record, paths.GATE):
        yield str(decide(read_verdict(root / paths.GATE), before=before, ask=ask))
    if record.succeeded:
        yield activity(record)


def _report(root: Path, record: RunRecord) -> Iterator[str]:
    path = root / paths.REPORT
    if path.exists():
        place = path.resolve().as_uri()
        yield (
            f"Report: {place}"
            if _is_current(root, record, paths.REPORT)
            else f"Report of an earlier run: {place}"
        )


def _next(root: Path, record: RunRecord) -> Iterator[str]:
    if record.succeeded:
        yield f"Next steps\n{_NEXT}"
    elif record.failed == VERDICT:
        advice = [
            f"  - {reason}\n    → {remedy}" for reason, remedy in remedies(read_verdict(root / paths.GATE))
        ]
        yield "\n".join(["Next steps", *advice])


def _failure(root: Path, record: RunRecord) -> Iterator[str]:
    if record.succeeded:
        return
    if record.failed is None:
        yield f"FAILED before the first stage: {record.reason}\nSee: DVC's output above, {_GUIDE}"
    elif record.failed == VERDICT:
        verdict = read_verdict(root / paths.GATE)
        count = sum(not check.passed for check in verdict.checks)
        message = (
            f"the quality gate rejected {verdict.architecture}, {count} check{'s' * (count != 1)} failed"
        )
        yield f"FAILED at stage {VERDICT}: {message}\nSee: Next steps above, docs/promotion.md"
    else:
        yield (
            f"FAILED at stage {record.failed}: {record.reason}\n"
            f"See: the output of {record.failed} above, {_GUIDE}"
        )


def _origin(root: Path, path: Path) -> str:
    """Name the commit that contains this version of a result."""
    git = ("git", "-C", str(root))
    try:
        changed = _output(*git, "status", "--porcelain", "--", str(path))
        commit = _output(*git, "log", "-1", "--format=%H", "--", str(path))
    except (OSError, subprocess.CalledProcessError):
        return "not in a git checkout"
    return f"commit {commit[:_HASH]}" if commit and not changed else "not committed"


def _output(*command: str) -> str:
    done = subprocess.run(  # noqa: S603 - the arguments are this file's own
        command, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
