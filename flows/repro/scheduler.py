"""Runs each stage of a plan once its inputs are ready, a slot is free and no stage runs alone.

The successors of a failed stage do not run; all other stages do, and their results stay in DVC's cache for
the next run.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture

from flows.repro.graph import Plan

Future = PrefectFuture[Any]
Submit = Callable[[str, Sequence[Future]], Future]
"""Start a stage, given the futures of its predecessors, which Prefect shows as its dependencies."""

# Signals are handled within a second while stages run for hours.
_WAKE_S = 1.0


@dataclass
class PlanProgress:
    """States of a plan's stages during a run."""

    states: dict[str, State[Any]] = field(default_factory=dict)
    """Final states of the stages that have ended."""
    running: set[str] = field(default_factory=set)

    @property
    def failed(self) -> list[str]:
        """Stages that failed, in the order in which they ended."""
        return [name for name, state in self.states.items() if not state.is_completed()]


def run_plan(plan: Plan, submit: Submit, *, max_parallel: int) -> PlanProgress:
    """Run all stages of a plan and wait until they have ended.

    Args:
        plan: stages to run.
        submit: starts one stage and returns immediately.
        max_parallel: maximum number of stages at once, at least 1.

    Returns:
        The states of all stages that ran; a stage without a state depends on one that failed.
    """
    progress = PlanProgress()
    futures: dict[str, Future] = {}
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()
    while True:
        for stage in startable(plan, progress, max_parallel=max_parallel):
            before = [futures[name] for name in plan.needs[stage]]
            futures[stage] = submit(stage, before)
            progress.running.add(stage)
            futures[stage].add_done_callback(partial(_note, ended, stage))
        if not progress.running:
            return progress
        stage = _next(ended)
        futures[stage].wait()
        progress.states[stage] = futures[stage].state
        progress.running.discard(stage)


def startable(plan: Plan, progress: PlanProgress, *, max_parallel: int) -> list[str]:
    """Stages that may start now, in the plan's order; a stage that runs alone comes after all others."""
    done = {name for name, state in progress.states.items() if state.is_completed()}
    ready = [
        stage
        for stage, before in plan.needs.items()
        if stage not in progress.states and stage not in progress.running and before <= done
    ]
    if progress.running & plan.alone:
        return []
    shared = [stage for stage in ready if stage not in plan.alone]
    if shared or progress.running:
        return shared[: max(0, max_parallel - len(progress.running))]
    return ready[:1]


def _note(ended: queue.SimpleQueue[str], stage: str, _: Future) -> None:
    ended.put(stage)


def _next(ended: queue.SimpleQueue[str]) -> str:
    while True:
        try:
            return ended.get(timeout=_WAKE_S)
        except queue.Empty:
            continue
