"""What `make run` prints at its end, from the record of this run and the registry as it is now.

A run that reached the comparison shows it, what the gate said and what the registry holds. A run that failed
ends with the stage that failed and its reason; results of an earlier run are named as such, not shown.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from pipelines.compare import render
from pipelines.core import paths
from pipelines.core.io import read_json
from pipelines.gate.remedies import remedies
from pipelines.register.status import RegistryStatus, decide
from pipelines.run_record import RunRecord, maker

VERDICT = "verdict"
"""The stage of dvc.yaml that fails when the gate rejected the model."""

_NEXT = """  make serve                    the service and its page, on port 8000
  make ui                       runs, versions and promotion in MLflow
  make help                     everything else
  source .venv/bin/activate     once in a terminal, for dvc, python, mlflow and prefect
  git commit -am "Trained"      keeps what belongs to these results
  dvc exp run -S models.lenet.epochs=40 && dvc exp show"""
_GUIDE = "docs/troubleshooting.md"
_HASH = 10
"""Digits of a commit that are shown."""


def summary(
    root: Path, record: RunRecord, *, before: RegistryStatus | None, ask: Callable[[], RegistryStatus]
) -> str:
    """Everything that is said after a run.

    Args:
        root: the checkout.
        record: of the run, closed.
        before: what the registry held before the run; None where it could not be asked.
        ask: asks it now; may raise `RegistryError`.
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
    """How many stages did something."""
    if not record.active:
        return f"Nothing has changed: none of {len(record.states)} stages had anything to do."
    return f"{len(record.active)} of {len(record.states)} stages had something to do."


def _is_current(root: Path, record: RunRecord, result: Path) -> bool:
    """Whether a result is of this run: its stage made it, or found that it would make the same."""
    stage = maker(root, result)
    return stage is not None and record.is_current(stage) and (root / result).exists()


def _compared(root: Path, record: RunRecord) -> Iterator[str]:
    if _is_current(root, record, paths.COMPARISON):
        yield render(read_json(root / paths.COMPARISON))
    elif (root / paths.COMPARISON).exists():
        yield (
            f"{paths.COMPARISON} holds results of an earlier run ({_origin(root, paths.COMPARISON)}); "
            "`python -m pipelines.compare --print` shows them."
        )


def _judged(
    root: Path, record: RunRecord, *, before: RegistryStatus | None, ask: Callable[[], RegistryStatus]
) -> Iterator[str]:
    if _is_current(root, record, paths.GATE):
        yield str(decide(read_json(root / paths.GATE), before=before, ask=ask))
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
        yield f"What now?\n{_NEXT}"
    elif record.failed == VERDICT:
        advice = [
            f"  - {reason}\n    → {remedy}" for reason, remedy in remedies(read_json(root / paths.GATE))
        ]
        yield "\n".join(["What now?", *advice])


def _failure(root: Path, record: RunRecord) -> Iterator[str]:
    if record.succeeded:
        return
    if record.failed is None:
        yield f"FAILED before any stage: {record.reason}\nRead on: DVC's output above, {_GUIDE}"
    elif record.failed == VERDICT:
        verdict = read_json(root / paths.GATE)
        count = sum(not check["passed"] for check in verdict["checks"])
        said = f"the gate rejected {verdict['architecture']}, {count} check{'s' * (count != 1)} failed"
        yield f"FAILED at stage {VERDICT}: {said}\nRead on: What now? above, docs/promotion.md"
    else:
        yield (
            f"FAILED at stage {record.failed}: {record.reason}\n"
            f"Read on: the output of {record.failed} above, {_GUIDE}"
        )


def _origin(root: Path, path: Path) -> str:
    """The commit that holds this version of a result."""
    git = ("git", "-C", str(root))
    try:
        changed = _said(*git, "status", "--porcelain", "--", str(path))
        commit = _said(*git, "log", "-1", "--format=%H", "--", str(path))
    except (OSError, subprocess.CalledProcessError):
        return "not in a git checkout"
    return f"commit {commit[:_HASH]}" if commit and not changed else "not committed"


def _said(*command: str) -> str:
    done = subprocess.run(  # noqa: S603 - the arguments are this file's own
        command, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
