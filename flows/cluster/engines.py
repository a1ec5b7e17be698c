"""Where stages run: an engine is a Prefect task runner and a stage executor.

`local` runs stages in the run's clone on this machine. `ray` and `dask` send the stages of an architecture to
the nodes of a cluster (flows.cluster): the task of a stage then waits for a task of the cluster's own runner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.errors import ParametersInvalid
from flows.repro.executor import LocalExecutor, StageExecutor
from flows.repro.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One way to run stages."""

    runner: Callable[[int], TaskRunner[Any]]
    """Creates the task runner, given the maximum number of stages at once."""
    executor: Callable[[Workspace, int], StageExecutor]
    """Creates the executor, given the clone and the maximum number of stages at once."""


def _threads(max_parallel: int) -> TaskRunner[Any]:
    return ThreadPoolTaskRunner(max_workers=max_parallel)


def _local_executor(workspace: Workspace, _: int = 1) -> LocalExecutor:
    return LocalExecutor(workspace.root, workspace.environment, inherited=[workspace.lock])


def _cluster_executor(kind: Literal["ray", "dask"], workspace: Workspace, max_parallel: int) -> StageExecutor:
    # Imported here, because Ray and Dask need not be installed for the other engines.
    from flows.cluster.executor import ClusterExecutor

    local = _local_executor(workspace)
    return ClusterExecutor.connect(kind, workspace, max_parallel=max_parallel, local=local)


_CLUSTERS: Mapping[str, Literal["ray", "dask"]] = {"ray": "ray", "dask": "dask"}
ENGINES: Mapping[str, Engine] = {"local": Engine(runner=_threads, executor=_local_executor)} | {
    name: Engine(runner=_threads, executor=partial(_cluster_executor, kind))
    for name, kind in _CLUSTERS.items()
}


def engine_named(name: str) -> Engine:
    """The engine of this name.

    Raises:
        ParametersInvalid: there is no engine of this name.
    """
    if name not in ENGINES:
        raise ParametersInvalid(parameter="engine", got=name, expected=f"one of {', '.join(sorted(ENGINES))}")
    return ENGINES[name]


def find_problems(name: str, checkout: Path, *, check_servers: bool = False) -> list[str]:
    """Everything that keeps an engine from starting, one sentence each; see `flows.cluster.preflight`."""
    if name not in _CLUSTERS:
        return []
    from flows.cluster import preflight

    return preflight.find_problems(_CLUSTERS[name], checkout, check_servers=check_servers)
