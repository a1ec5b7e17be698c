"""Where chunks are scored: in threads of this process, or on nodes of a cluster (flows.cluster)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from flows.errors import ParametersInvalid

ENGINES = ("local", "ray", "dask")


class Submit(Protocol):
    """Starts the task of a chunk and returns immediately."""

    def __call__(self, task: Task[..., Any], parameters: Mapping[str, Any]) -> PrefectFuture[Any]:
        """Start `task` with these parameters."""


def check_engine(name: str) -> None:
    """Check the name of an engine.

    Raises:
        ParametersInvalid: there is no engine of this name.
    """
    if name not in ENGINES:
        raise ParametersInvalid(parameter="engine", got=name, expected=f"one of {', '.join(ENGINES)}")


@contextmanager
def start_engine(name: str, *, max_parallel: int) -> Iterator[Submit]:
    """Start the engine.

    Args:
        name: of `ENGINES`.
        max_parallel: maximum number of chunks at once; a running cluster has its own limit.

    Raises:
        ClusterError: the packages of the engine are not installed.
    """
    if name == "local":
        threads: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=max_parallel)
        with threads as pool:
            yield lambda task, parameters: pool.submit(task, dict(parameters))
        return
    # Imported here, because Ray and Dask need not be installed for the local engine.
    from flows.cluster.backends import cluster_connection, cluster_settings

    cluster = cluster_connection(
        cast(Literal["ray", "dask"], name), cluster_settings(Path.cwd()), max_parallel=max_parallel
    )
    with cluster.runner as nodes:

        def submit(task: Task[..., Any], parameters: Mapping[str, Any]) -> PrefectFuture[Any]:
            with cluster.options():
                future: PrefectFuture[Any] = nodes.submit(task, dict(parameters))
            return future

        yield submit
