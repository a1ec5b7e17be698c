"""Ray and Dask: Prefect's task runner for each, without pages and telemetry, imported when it is chosen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from prefect.task_runners import TaskRunner

from flows.cluster.settings import ADDRESS, ClusterSettings
from flows.errors import ClusterError
from pipelines.run_record import last_reason

Kind = Literal["ray", "dask"]

_LOOPBACK = "127.0.0.1"
_QUIET_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Otherwise Ray says on every start that a later version will leave CUDA_VISIBLE_DEVICES alone.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A cluster that stages can be sent to."""

    runner: TaskRunner[Any]
    """Not yet entered."""
    options: Callable[[], AbstractContextManager[Any]]
    """What a task is submitted within: the resources it asks for."""
    connect: Callable[[Any], object]
    """Makes an entered runner reach the cluster now, not with its first task."""
    cancel: Callable[[Any], None]
    """End a task, given its future, that runs or waits."""


def connection(kind: Kind, settings: ClusterSettings, *, most: int) -> Connection:
    """Prepare a connection; nothing is started.

    Args:
        kind: of the cluster.
        settings: its address; without one, a cluster on this machine lasts as long as the run.
        most: stages that run at once.

    Raises:
        ClusterError: the packages are not installed.
    """
    try:
        return {"ray": _ray, "dask": _dask}[kind](settings, most)
    except ModuleNotFoundError as error:
        raise ClusterError(
            what=f"engine {kind}",
            reason=f"{error.name} is not installed",
            remedy=f"run `make setup`, or in a checkout `pip install '.[{kind}]'`",
        ) from error


def _ray(settings: ClusterSettings, most: int) -> Connection:
    os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET_RAY.items()})
    import ray

    context = import_module("prefect_ray.context")
    runners = import_module("prefect_ray.task_runners")

    local: Mapping[str, Any] = {
        "num_cpus": most,
        "include_dashboard": False,
        "_node_ip_address": _LOOPBACK,
    }
    runner = runners.RayTaskRunner(
        address=settings.address,
        init_kwargs={
            "log_to_driver": False,
            "configure_logging": False,
            **({} if settings.address else local),
        },
    )
    # A lost node is told to the flow, which tries again elsewhere: Ray itself would say nothing.
    options = {"num_gpus": settings.gpus, "scheduling_strategy": "SPREAD", "max_retries": 0}
    return Connection(
        runner=runner,
        connect=lambda entered: entered,
        options=lambda: context.remote_options(**options),
        cancel=lambda future: ray.cancel(future.wrapped_future, force=True),
    )


def _dask(settings: ClusterSettings, most: int) -> Connection:
    dask = import_module("dask")
    runners = import_module("prefect_dask.task_runners")

    local = {
        "n_workers": most,
        "threads_per_worker": 1,
        "host": _LOOPBACK,
        "dashboard_address": f"{_LOOPBACK}:0",
    }
    runner = (
        runners.DaskTaskRunner(address=settings.address)
        if settings.address
        else runners.DaskTaskRunner(cluster_class="distributed.LocalCluster", cluster_kwargs=local)
    )

    @contextmanager
    def options() -> Iterator[None]:
        wanted = {"resources": {"GPU": settings.gpus}} if settings.gpus else {}
        with dask.annotate(**wanted):
            yield

    return Connection(
        runner=runner,
        connect=lambda entered: entered.client,
        options=options,
        cancel=lambda future: future.wrapped_future.cancel(),
    )


def unreachable(kind: Kind, settings: ClusterSettings, error: Exception) -> ClusterError:
    """What a failed connection is called."""
    where = f"the {kind} cluster {settings.address or 'on this machine'}"
    reason = last_reason(str(error)) or type(error).__name__
    return ClusterError(what=where, reason=reason, remedy=f"start it, or correct {ADDRESS}")
