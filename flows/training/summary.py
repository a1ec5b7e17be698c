"""How a run ended, in one sentence: the message of its final state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from flows.repro.graph import Plan
from flows.repro.scheduler import Progress
from flows.repro.tasks import UNCHANGED
from pipelines.core import paths
from pipelines.register.status import Decision
from pipelines.run_record import maker

SHOWN = (paths.COMPARISON, paths.GATE, paths.VALIDATION_REPORT, paths.REPORT)
"""Results that are shown after a run."""


def results_of(progress: Progress, root: Path, *, since_s: float) -> frozenset[Path]:
    """Those of `SHOWN` that are of this run: their stage made them, or found that it would make the same.

    Args:
        progress: how far the run got.
        root: of the repository with the results.
        since_s: when the run began, Unix time. A stage that failed may have written its report before.
    """

    def is_of_this_run(path: Path) -> bool:
        state = progress.states.get(maker(root, path) or "")
        if state is None or not (root / path).exists():
            return False
        return state.is_completed() or (root / path).stat().st_mtime >= since_s

    return frozenset(path for path in SHOWN if is_of_this_run(path))


def said_of(plan: Plan, progress: Progress, decision: Decision | None) -> str:
    """One sentence on what failed and what waited for it, or on what the gate decided.

    Args:
        plan: that was run.
        progress: how far it got.
        decision: of the gate in this run; None where it was not asked.
    """
    if failed := progress.failed:
        reasons = "; ".join(f"{name}: {progress.states[name].message}" for name in failed)
        waiting = [name for name in plan.stages if name in plan.blocked_by(failed)]
        return f"FAILED at stage {reasons}" + (
            f"; not run because of it: {', '.join(waiting)}" if waiting else ""
        )
    changed = [name for name in plan.stages if progress.states[name].name != UNCHANGED]
    said = (
        f"{len(changed)} of {len(plan.stages)} stages had something to do"
        if changed
        else "nothing has changed"
    )
    return said if decision is None else f"{' '.join(str(decision).split())}; {said}"


def ending(state: State[Any]) -> str:
    """The last line: how the run ended, in the words of its state."""
    message = " ".join((state.message or "no reason given").split())
    if state.is_completed() or message.startswith("FAILED"):
        return message
    return f"{str(state.name).upper()}: {message}"
