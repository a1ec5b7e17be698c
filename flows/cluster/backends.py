"""Connections to Ray and Dask: Prefect's task runner for each, without dashboard and telemetry.

Also the settings of the cluster engines, from the environment. A library is imported when its engine is
chosen. Dask cannot interrupt the thread of a worker: `stopped_when_cancelled` asks its scheduler instead.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from prefect.task_runners import TaskRunner

from flows.errors import ClusterError, ParametersInvalid
from pipelines.run_record import last_reason

ADDRESS = "MIEN_CLUSTER_ADDRESS"
REPOSITORY = "MIEN_CLUSTER_REPOSITORY"
GPUS = "MIEN_CLUSTER_GPUS"
SCRATCH_FOLDER = "MIEN_CLUSTER_SCRATCH"


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """Settings of the coordinator."""

    address: str | None
    """Of a running cluster: `ray://HOST:10001`, `tcp://HOST:8786`. None starts one on this machine."""
    repository: str
    """Git URL or path that nodes fetch from and the coordinator pushes to."""
    gpus: int
    """Number of GPUs that a stage requests from the cluster."""


def cluster_settings(checkout: Path, given: Mapping[str, str] = os.environ) -> ClusterSettings:
    """Read the coordinator's settings.

    Raises:
        ParametersInvalid: the number of GPUs is not a whole number.
    """
    gpus = given.get(GPUS, "").strip() or "0"
    if not gpus.isdecimal():
        raise ParametersInvalid(parameter=GPUS, got=gpus, expected="a whole number, 0 or more")
    return ClusterSettings(
        address=given.get(ADDRESS, "").strip() or None,
        repository=given.get(REPOSITORY, "").strip() or str(checkout.absolute()),
        gpus=int(gpus),
    )


def scratch_folder(given: Mapping[str, str] = os.environ) -> Path:
    """Folder in which a node keeps its clones and DVC's cache during a run."""
    return Path(given.get(SCRATCH_FOLDER, "").strip() or Path(tempfile.gettempdir()) / f"mien-{os.getuid()}")


ClusterKind = Literal["ray", "dask"]

_LOOPBACK = "127.0.0.1"
_QUIET_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Without it Ray warns at every start that a later version will not change CUDA_VISIBLE_DEVICES.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True, kw_only=True)
class ClusterConnection:
    """How to reach a cluster, and to submit and cancel tasks there."""

    runner: TaskRunner[Any]
    """Not yet entered."""
    options: Callable[[], AbstractContextManager[Any]]
    """Context in which a task is submitted: the resources that it requests."""
    connect: Callable[[Any], object]
    """Makes an entered runner connect to the cluster now instead of with its first task."""
    cancel: Callable[[Any], None]
    """Cancels a running or waiting task, given its future."""


def cluster_connection(
    kind: ClusterKind, settings: ClusterSettings, *, max_parallel: int
) -> ClusterConnection:
    """Prepare a connection; nothing is started.

    Args:
        kind: of the cluster.
        settings: without an address, a cluster on this machine is started for the run.
        max_parallel: maximum number of tasks at once, for a cluster on this machine.

    Raises:
        ClusterError: the packages are not installed.
    """
    try:
        return {"ray": _ray, "dask": _dask}[kind](settings, max_parallel)
    except ModuleNotFoundError as error:
        raise ClusterError(
            what=f"engine {kind}",
            reason=f"{error.name} is not installed",
            remedy=f"run `make setup`, or in a checkout `pip install '.[{kind}]'`",
        ) from error


def _ray(settings: ClusterSettings, max_parallel: int) -> ClusterConnection:
    os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET_RAY.items()})
    import ray

    context = import_module("prefect_ray.context")
    runners = import_module("prefect_ray.task_runners")

    local: Mapping[str, Any] = {
        "num_cpus": max_parallel,
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
    # The flow tries a stage again when its node is lost; a retry by Ray would not appear in the run.
    options = {"num_gpus": settings.gpus, "scheduling_strategy": "SPREAD", "max_retries": 0}
    return ClusterConnection(
        runner=runner,
        connect=lambda entered: entered,
        options=lambda: context.remote_options(**options),
        cancel=lambda future: ray.cancel(future.wrapped_future, force=True),
    )


def _dask(settings: ClusterSettings, max_parallel: int) -> ClusterConnection:
    dask = import_module("dask")
    runners = import_module("prefect_dask.task_runners")

    local = {
        "n_workers": max_parallel,
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
        resources = {"resources": {"GPU": settings.gpus}} if settings.gpus else {}
        with dask.annotate(**resources):
            yield

    return ClusterConnection(
        runner=runner,
        connect=lambda entered: entered.client,
        options=options,
        cancel=lambda future: future.wrapped_future.cancel(),
    )


def unreachable_error(kind: ClusterKind, settings: ClusterSettings, error: Exception) -> ClusterError:
    """The error for a failed connection."""
    cluster = f"the {kind} cluster {settings.address or 'on this machine'}"
    reason = last_reason(str(error)) or type(error).__name__
    return ClusterError(what=cluster, reason=reason, remedy=f"start it, or correct {ADDRESS}")


_POLL_S = 1.0


@contextmanager
def stopped_when_cancelled(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` when the coordinator has cancelled this task or has ended.

    Only for Dask: Ray kills the worker's process, which also ends the commands that run under guard.
    """
    is_active = _dask_task_check()
    if is_active is None:
        yield
        return
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(_POLL_S):
            if not is_active():
                stop()
                return

    watcher = threading.Thread(target=watch, name="cancelled", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def _dask_task_check() -> Callable[[], bool] | None:
    """Function that checks whether Dask still runs this thread's task; None outside of a Dask worker."""
    if "distributed.worker" not in sys.modules:
        return None
    library = import_module("distributed.worker")
    try:
        worker, key = library.get_worker(), library.thread_state.key
    except (ValueError, AttributeError):
        return None

    def is_active() -> bool:
        task: Any = worker.state.tasks.get(key)
        return task is not None and task.state == "executing"

    return is_active
