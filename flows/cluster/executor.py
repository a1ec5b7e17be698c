"""The coordinator's side of a job: send a stage's inputs, wait for the node, restore the results here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Self

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.task_runners import TaskRunner

from flows.cluster import dvc_transfer, git_transfer
from flows.cluster.backends import (
    ClusterConnection,
    ClusterKind,
    ClusterSettings,
    cluster_connection,
    cluster_settings,
    unreachable_error,
)
from flows.cluster.job import Job, JobResult
from flows.cluster.worker import run_job
from flows.repro.executor import LocalExecutor
from flows.repro.graph import at_coordinator
from flows.repro.stages import StageKind, StageOutcome, error_outcome
from flows.repro.tasks import INTERRUPTED
from flows.repro.workspace import Workspace
from pipelines.tracking.runs import SCRATCH, TRACKING_URI


class ClusterExecutor:
    """Runs stages of one architecture on the nodes of a cluster, all other stages on the coordinator.

    A `StageExecutor` of `flows.repro`. A stage whose `meta` in dvc.yaml has `node: coordinator` also runs on
    the coordinator.
    """

    def __init__(
        self,
        workspace: Workspace,
        connection: ClusterConnection,
        *,
        runner: TaskRunner[Any],
        settings: ClusterSettings,
        local: LocalExecutor,
    ) -> None:
        """Create the executor; `connect` also reaches the cluster.

        Args:
            workspace: the coordinator's clone.
            connection: how tasks are submitted and cancelled.
            runner: the cluster's, entered.
            settings: the coordinator's.
            local: runs stages in the clone.

        Raises:
            ClusterError: the repository has no default DVC remote.
        """
        self._workspace = workspace
        self._connection = connection
        self._runner = runner
        self._settings = settings
        self._local = local
        self._remote, self._remote_settings = dvc_transfer.default_remote(workspace.root)
        self._run_id = str(flow_run.id)
        self._waiting: set[PrefectFuture[Any]] = set()
        # One thread at a time may use the clone: git's index and DVC's files are not safe for two.
        self._clone_lock = threading.Lock()
        self._stopped = False

    @classmethod
    def connect(
        cls, kind: ClusterKind, workspace: Workspace, *, max_parallel: int, local: LocalExecutor
    ) -> Self:
        """Connect to the cluster.

        Raises:
            ClusterError: the cluster cannot be reached, or a setting that its nodes need is missing.
        """
        settings = cluster_settings(workspace.checkout)
        connection = cluster_connection(kind, settings, max_parallel=max_parallel)
        dvc_transfer.default_remote(workspace.root)
        try:
            runner = connection.runner.__enter__()
            connection.connect(runner)
        except Exception as error:
            raise unreachable_error(kind, settings, error) from error
        return cls(workspace, connection, runner=runner, settings=settings, local=local)

    def __getstate__(self) -> dict[str, object]:
        """Empty: Prefect sends a task the parameters of the task that calls it, and a node needs none."""
        return {}

    def run(self, stage: str, *, force: bool = False, on_line: Callable[[str], None] = print) -> StageOutcome:
        """Bring one stage up to date, on a node or here."""
        if self._stopped:
            raise InterruptedError(f"{stage} was not started: the run is ending")
        try:
            if at_coordinator(self._workspace.root, stage):
                return self._local.run(stage, force=force, on_line=on_line)
            return self._run_on_node(stage, force=force, on_line=on_line)
        except InterruptedError:
            raise
        # Also what git, DVC and the library of the remote raise: the run's state needs one sentence.
        except Exception as error:
            return error_outcome(stage, error)

    def stop(self) -> None:
        """End what is running, here and on the nodes, and leave the cluster."""
        self._stopped = True
        self._local.stop()
        for future in list(self._waiting):
            self._connection.cancel(future)
        self._runner.__exit__(None, None, None)

    def _run_on_node(self, stage: str, *, force: bool, on_line: Callable[[str], None]) -> StageOutcome:
        with self._clone_lock:
            job = self._create_job(stage, force=force)
            if job is None:
                return self._local.run(stage, force=force, on_line=on_line)
        try:
            result = self._send(job)
        finally:
            git_transfer.delete_snapshot(self._workspace, job.repository, job.reference)
        return result if isinstance(result, StageOutcome) else self._pull_results(stage, result)

    def _create_job(self, stage: str, *, force: bool) -> Job | None:
        """Push the stage's inputs; None if it needs no node: up to date, in the run cache, or not movable."""
        pushed = self._dvc("push_inputs", stage=stage, force=force)
        if not pushed["needs_node"]:
            return None
        repository = self._settings.repository
        reference = git_transfer.reference_name(self._run_id, stage)
        git_transfer.push_snapshot(self._workspace, repository, reference)
        return Job(
            run=self._run_id,
            stage=stage,
            force=force,
            repository=repository,
            reference=reference,
            inputs=tuple(pushed["inputs"]),
            remote=self._remote,
            remote_settings=self._remote_settings,
            environment={TRACKING_URI: self._workspace.environment[TRACKING_URI], SCRATCH: "1"},
        )

    def _send(self, job: Job) -> JobResult | StageOutcome:
        """Submit the job and wait; a cluster that loses the node raises an exception of its own."""
        with self._connection.options():
            future = self._runner.submit(run_job, {"job": job})
        self._waiting.add(future)
        try:
            result = future.result(raise_on_failure=False)
        except Exception as error:
            return _lost(job.stage, f"{type(error).__name__}: {error}")
        finally:
            self._waiting.discard(future)
        return result if isinstance(result, JobResult) else _failed(job.stage, future.state)

    def _pull_results(self, stage: str, result: JobResult) -> StageOutcome:
        with self._clone_lock:
            restored = self._dvc("pull_results", stage=stage, entry=result.cache_entry)
        if restored["inputs_match"]:
            return StageOutcome(stage=stage, kind="ran", message=f"it has run on {result.host}")
        message = f"it ran on {result.host} with inputs that differ from those here; start the run again"
        return StageOutcome(stage=stage, kind="failed", message=message)

    def _dvc(self, operation: str, **arguments: object) -> dict[str, Any]:
        root, variables = self._workspace.root, self._workspace.environment
        return dvc_transfer.run_operation(root, variables, operation, **arguments)


def _failed(stage: str, state: State[Any]) -> StageOutcome:
    message = state.message or "it failed on its node without a reason"
    if state.is_crashed():
        return _lost(stage, message)
    kind: StageKind = "interrupted" if state.name == INTERRUPTED else "failed"
    return StageOutcome(stage=stage, kind=kind, message=message)


def _lost(stage: str, reason: str) -> StageOutcome:
    first_line = reason.strip().splitlines()[0]
    return StageOutcome(
        stage=stage, kind="interrupted", message=f"its node was lost while it ran ({first_line})"
    )
