"""Ray and Dask: Prefect's task runner for each, without pages and telemetry, imported when it is chosen.

Dask cannot interrupt a worker's thread: what runs there has to ask whether it is still wanted.

Settings of the cluster engines, from the environment.
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
    """How the coordinator reaches its nodes, and they the repository."""

    address: str | None
    """Of a running cluster: `ray://HOST:10001`, `tcp://HOST:8786`. None starts one on this machine."""
    repository: str
    """Git URL or path that nodes fetch from and the coordinator pushes to."""
    gpus: int
    """How many a stage asks the cluster for."""


def cluster_settings(checkout: Path, given: Mapping[str, str] = os.environ) -> ClusterSettings:
    """Read the coordinator's settings.

    Raises:
        ParametersInvalid: the number of GPUs is none.
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
    """Where a node keeps its clones and DVC's cache while a run lasts."""
    return Path(given.get(SCRATCH_FOLDER, "").strip() or Path(tempfile.gettempdir()) / f"mien-{os.getuid()}")


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


_POLL_S = 1.0


@contextmanager
def stopped_when_cancelled(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` when the coordinator has cancelled this task, or is gone.

    Ray kills the worker's process instead, and with it what runs under guard; there nothing is watched.
    """
    wanted = _dask_wants_it()
    if wanted is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_POLL_S):
            if not wanted():
                stop()
                return

    watcher = threading.Thread(target=watch, name="cancelled", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _dask_wants_it() -> Callable[[], bool] | None:
    """Tells whether the scheduler still wants the task of this thread; None where Dask does not run it."""
    if "distributed.worker" not in sys.modules:
        return None
    library = import_module("distributed.worker")
    try:
        worker, key = library.get_worker(), library.thread_state.key
    except (ValueError, AttributeError):
        return None

    def wanted() -> bool:
        task: Any = worker.state.tasks.get(key)
        return task is not None and task.state == "executing"

    return wanted
