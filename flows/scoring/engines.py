"""Where chunks are scored: threads of this process, or the nodes of a Ray or Dask cluster (flows.cluster)."""

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
    """Starts the task of a chunk and returns at once."""

    def __call__(self, task: Task[..., Any], given: Mapping[str, Any]) -> PrefectFuture[Any]:
        """Start `task` with these parameters."""


def check_engine(name: str) -> None:
    """Refuse an engine that there is not.

    Raises:
        ParametersInvalid: there is none of this name.
    """
    if name not in ENGINES:
        raise ParametersInvalid(parameter="engine", got=name, expected=f"one of {', '.join(ENGINES)}")


@contextmanager
def start_engine(name: str, *, most: int) -> Iterator[Submit]:
    """Start the engine.

    Args:
        name: of `ENGINES`.
        most: chunks that are scored at once; a cluster that is running already has its own say.

    Raises:
        ClusterError: the cluster is not to be had.
    """
    if name == "local":
        threads: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=most)
        with threads as pool:
            yield lambda task, given: pool.submit(task, dict(given))
        return
    # Neither is needed, nor need be installed, for the local engine.
    from flows.cluster.backends import cluster_connection, cluster_settings

    cluster = cluster_connection(
        cast(Literal["ray", "dask"], name), cluster_settings(Path.cwd()), max_parallel=most
    )
    with cluster.runner as nodes:

        def submit(task: Task[..., Any], given: Mapping[str, Any]) -> PrefectFuture[Any]:
            with cluster.options():
                future: PrefectFuture[Any] = nodes.submit(task, dict(given))
            return future

        yield submit
