"""Where stages run: an engine is a Prefect task runner, and a place in which one stage is run.

`local` runs them in the run's own clone on this machine. An engine that spreads them over machines brings
its own task runner, its own place (clone, pull what the stage reads, run it, push) and an entry in `ENGINES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.errors import ParametersInvalid
from flows.stages import Outcome, Stages
from flows.workspace import Workspace


class Place(Protocol):
    """Runs single stages; travels to tasks as their parameter."""

    def run(self, stage: str, *, force: bool = False, on_line: Callable[[str], None] = print) -> Outcome:
        """Bring one stage up to date, see `Stages.run`."""

    def stop(self) -> None:
        """End what is running, and start nothing any more."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One way of running stages."""

    runner: Callable[[int], TaskRunner[Any]]
    """Makes the task runner for at most so many stages at once."""
    place: Callable[[Workspace], Place]


ENGINES: Mapping[str, Engine] = {
    "local": Engine(
        runner=lambda most: ThreadPoolTaskRunner(max_workers=most),
        place=lambda workspace: Stages(workspace.root, workspace.environment, inherited=[workspace.lock]),
    ),
}


def engine_named(name: str) -> Engine:
    """The engine of this name.

    Raises:
        ParametersInvalid: there is none.
    """
    if name not in ENGINES:
        raise ParametersInvalid(parameter="engine", got=name, expected=f"one of {', '.join(sorted(ENGINES))}")
    return ENGINES[name]
