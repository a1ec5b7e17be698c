"""Starts every stage of a plan as soon as it may: what it reads is there, a place is free, none wants quiet.

A stage that fails takes its successors with it and nobody else: what other architectures learn meanwhile
stays in DVC's cache for the next run.
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
"""Start a stage, given the futures of those before it (so that Prefect draws the order)."""

# So that a signal is seen within a second while stages run for hours.
_WAKE_S = 1.0


@dataclass
class Progress:
    """Where a run of a plan stands."""

    states: dict[str, State[Any]] = field(default_factory=dict)
    """Of the stages that have ended."""
    running: set[str] = field(default_factory=set)

    @property
    def failed(self) -> list[str]:
        """Stages that did not come to a good end, in the order in which they ended."""
        return [name for name, state in self.states.items() if not state.is_completed()]


def conduct(plan: Plan, submit: Submit, *, max_parallel: int) -> Progress:
    """Run the plan to its end.

    Args:
        plan: what to run.
        submit: starts one stage and returns at once.
        max_parallel: most stages that run at once, at least 1.

    Returns:
        The states of all stages that ran; those that are not there waited for one that failed.
    """
    progress = Progress()
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


def startable(plan: Plan, progress: Progress, *, max_parallel: int) -> list[str]:
    """Stages that may start now, in the plan's order; one that runs alone only when nothing else could."""
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
