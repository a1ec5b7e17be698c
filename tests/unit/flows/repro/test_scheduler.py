"""Which stages may start when."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.repro.graph import Plan
from flows.repro.scheduler import PlanProgress, startable

# a ─ b1 ─ c1 ┐
#   └ b2 ─ c2 ┴ quiet ─ end
PLAN = Plan(
    {
        "a": frozenset(),
        "b1": frozenset("a"),
        "b2": frozenset("a"),
        "c1": frozenset({"b1"}),
        "c2": frozenset({"b2"}),
        "quiet": frozenset({"b1", "b2"}),
        "end": frozenset({"c1", "c2", "quiet"}),
    },
    alone=frozenset({"quiet"}),
)


def progress(done: str = "", running: str = "", failed: str = "") -> PlanProgress:
    states: dict[str, State[Any]] = {name: Completed() for name in done.split()} | {
        name: Failed() for name in failed.split()
    }
    return PlanProgress(states, set(running.split()))


@pytest.mark.parametrize(
    ("standing", "most", "expected"),
    [
        (progress(), 2, ["a"]),
        (progress("a"), 2, ["b1", "b2"]),
        (progress("a"), 1, ["b1"]),
        (progress("a", "b1"), 1, []),
        (progress("a b1", "b2"), 2, ["c1"]),
        # Measuring waits until nothing else could run, then has the machine for itself.
        (progress("a b1 b2"), 3, ["c1", "c2"]),
        (progress("a b1 b2 c1", "c2"), 3, []),
        (progress("a b1 b2 c1 c2"), 3, ["quiet"]),
        (progress("a b1 b2 c1 c2", "quiet"), 3, []),
        (progress("a b1 b2 c1 c2 quiet"), 3, ["end"]),
        # A failed stage cancels its successors only.
        (progress("a", failed="b1"), 2, ["b2"]),
        (progress("a b2 c2", failed="b1"), 2, []),
        (progress(failed="a"), 2, []),
    ],
)
def test_startable_stages(standing: PlanProgress, most: int, expected: list[str]) -> None:
    assert startable(PLAN, standing, max_parallel=most) == expected


def test_stage_that_runs_alone_is_not_starved_and_starves_no_other() -> None:
    plan = Plan({"quiet": frozenset(), "loud": frozenset()}, alone=frozenset({"quiet"}))
    assert startable(plan, PlanProgress(), max_parallel=2) == ["loud"]
    assert startable(plan, progress("loud"), max_parallel=2) == ["quiet"]
    assert startable(plan, progress(running="quiet"), max_parallel=2) == []
