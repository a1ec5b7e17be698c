"""The result of a run in one sentence, which becomes the message of its final state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from flows.repro.graph import Plan
from flows.repro.scheduler import PlanProgress
from flows.repro.tasks import UNCHANGED
from pipelines.core import paths
from pipelines.register.status import Decision
from pipelines.run_record import maker

SHOWN = (paths.COMPARISON, paths.GATE, paths.VALIDATION_REPORT, paths.REPORT)
"""Results that become artifacts after a run."""


def current_results(progress: PlanProgress, root: Path, *, since_s: float) -> frozenset[Path]:
    """Files of `SHOWN` that belong to this run: their stage wrote them, or was up to date.

    Args:
        progress: states of the run's stages.
        root: of the repository with the results.
        since_s: when the run began, Unix time. A stage that failed may have written its report before.
    """

    def is_of_this_run(path: Path) -> bool:
        state = progress.states.get(maker(root, path) or "")
        if state is None or not (root / path).exists():
            return False
        return state.is_completed() or (root / path).stat().st_mtime >= since_s

    return frozenset(path for path in SHOWN if is_of_this_run(path))


def summary_message(plan: Plan, progress: PlanProgress, decision: Decision | None) -> str:
    """One sentence on the stages that failed and those after them, or on the gate's decision.

    Args:
        plan: stages of the run.
        progress: their states.
        decision: of the gate in this run; None if it did not run.
    """
    if failed := progress.failed:
        reasons = "; ".join(f"{name}: {progress.states[name].message}" for name in failed)
        waiting = [name for name in plan.stages if name in plan.blocked_by(failed)]
        return f"FAILED at stage {reasons}" + (
            f"; not run because of it: {', '.join(waiting)}" if waiting else ""
        )
    changed = [name for name in plan.stages if progress.states[name].name != UNCHANGED]
    message = f"{len(changed)} of {len(plan.stages)} stages had changes" if changed else "nothing has changed"
    return message if decision is None else f"{' '.join(str(decision).split())}; {message}"


def final_line(state: State[Any]) -> str:
    """The last line of output: the message of the run's final state."""
    message = " ".join((state.message or "no reason given").split())
    if state.is_completed() or message.startswith("FAILED"):
        return message
    return f"{str(state.name).upper()}: {message}"
