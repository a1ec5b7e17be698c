"""Where stages run: an engine is a Prefect task runner, and a place in which one stage is run.

`local` runs them in the run's own clone on this machine. `ray` and `dask` send the stages of an architecture
to a cluster's nodes (flows.cluster): there the task of a stage waits for a task of the cluster's own runner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.errors import ParametersInvalid
from flows.repro.stages import Outcome, Stages
from flows.repro.workspace import Workspace


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
    place: Callable[[Workspace, int], Place]
    """Where at most so many stages run at once."""


def _threads(most: int) -> TaskRunner[Any]:
    return ThreadPoolTaskRunner(max_workers=most)


def _here(workspace: Workspace) -> Stages:
    return Stages(workspace.root, workspace.environment, inherited=[workspace.lock])


def _nodes(kind: Literal["ray", "dask"], workspace: Workspace, most: int) -> Place:
    # Neither is needed, nor need be installed, for the other engines.
    from flows.cluster.executor import Nodes

    return Nodes.connect(kind, workspace, most=most, home=_here(workspace))


ENGINES: Mapping[str, Engine] = {
    "local": Engine(runner=_threads, place=lambda workspace, _: _here(workspace)),
    "ray": Engine(runner=_threads, place=partial(_nodes, "ray")),
    "dask": Engine(runner=_threads, place=partial(_nodes, "dask")),
}


_CLUSTERS: Mapping[str, Literal["ray", "dask"]] = {"ray": "ray", "dask": "dask"}


def engine_named(name: str) -> Engine:
    """The engine of this name.

    Raises:
        ParametersInvalid: there is none.
    """
    if name not in ENGINES:
        raise ParametersInvalid(parameter="engine", got=name, expected=f"one of {', '.join(sorted(ENGINES))}")
    return ENGINES[name]


def missing_for(name: str, checkout: Path, *, reach: bool = False) -> list[str]:
    """Everything that is missing for an engine to start, a sentence each; see `flows.cluster.preflight`."""
    if name not in _CLUSTERS:
        return []
    from flows.cluster.preflight import missing

    return missing(_CLUSTERS[name], checkout, reach=reach)
