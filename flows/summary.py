"""How a run ended, in one sentence: the message of its final state."""

from __future__ import annotations

from pathlib import Path

from flows.conductor import Progress
from flows.graph import Plan
from flows.tasks import UNCHANGED
from pipelines import layout
from pipelines.files import read_json
from pipelines.summary import outcome


def said_of(plan: Plan, progress: Progress, root: Path) -> str:
    """One sentence on what failed and what waited for it, or on what the gate decided.

    Args:
        plan: that was run.
        progress: how far it got.
        root: of the repository with the results.
    """
    if failed := progress.failed:
        reasons = "; ".join(f"{name}: {progress.states[name].message}" for name in failed)
        waiting = [name for name in plan.stages if name in plan.blocked_by(failed)]
        return reasons + (f"; not run because of it: {', '.join(waiting)}" if waiting else "")
    changed = [name for name in plan.stages if progress.states[name].name != UNCHANGED]
    said = (
        f"{len(changed)} of {len(plan.stages)} stages had something to do"
        if changed
        else "nothing has changed"
    )
    try:
        return f"{' '.join(outcome(read_json(root / layout.GATE)).split())}; {said}"
    except (OSError, ValueError, KeyError, TypeError):
        return said
