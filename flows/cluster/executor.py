"""The coordinator's part: send a stage's inputs, wait for its node, bring its results home."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal, Self

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.task_runners import TaskRunner

from flows.cluster import dvc_transfer, git_transfer
from flows.cluster.backends import (
    ClusterSettings,
    Connection,
    Kind,
    cluster_settings,
    connection,
    unreachable,
)
from flows.cluster.job import Delivery, Errand
from flows.cluster.worker import on_node
from flows.repro.graph import at_coordinator
from flows.repro.stages import Outcome, Stages, passes_by_itself
from flows.repro.tasks import INTERRUPTED
from flows.repro.workspace import Workspace
from pipelines.run_record import last_reason
from pipelines.tracking.runs import SCRATCH, TRACKING_URI


class Nodes:
    """A place (`flows.cluster.engines.Place`): stages of one architecture run on nodes, the others at home.

    So does one whose `meta` in dvc.yaml says `node: coordinator`.
    """

    def __init__(
        self,
        workspace: Workspace,
        cluster: Connection,
        *,
        runner: TaskRunner[Any],
        settings: ClusterSettings,
        home: Stages,
    ) -> None:
        """Remember all of it.

        Args:
            workspace: the coordinator's clone.
            cluster: how tasks are submitted and cancelled.
            runner: the cluster's, entered.
            settings: see there.
            home: runs stages in the clone.

        Raises:
            ClusterError: the repository has no default DVC remote.
        """
        self._workspace = workspace
        self._cluster = cluster
        self._runner = runner
        self._settings = settings
        self._home = home
        self._remote, self._remote_settings = dvc_transfer.default_remote(workspace.root)
        self._run = str(flow_run.id)
        self._waiting: set[PrefectFuture[Any]] = set()
        # One at a time handles the clone: git's index and what DVC lays out are not for two.
        self._clone = threading.Lock()
        self._stopped = False

    @classmethod
    def connect(cls, kind: Kind, workspace: Workspace, *, most: int, home: Stages) -> Self:
        """Reach the cluster.

        Raises:
            ClusterError: it cannot be reached, or something that its nodes need is not configured.
        """
        settings = cluster_settings(workspace.checkout)
        cluster = connection(kind, settings, most=most)
        dvc_transfer.default_remote(workspace.root)
        try:
            runner = cluster.runner.__enter__()
            cluster.connect(runner)
        except Exception as error:
            raise unreachable(kind, settings, error) from error
        return cls(workspace, cluster, runner=runner, settings=settings, home=home)

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Prefect sends a task the parameters of the one that it is called from, and needs none."""
        return {}

    def run(self, stage: str, *, force: bool = False, on_line: Callable[[str], None] = print) -> Outcome:
        """Bring one stage up to date, wherever it runs."""
        if self._stopped:
            raise InterruptedError(f"{stage} is not started any more: the run ends")
        try:
            if at_coordinator(self._workspace.root, stage):
                return self._home.run(stage, force=force, on_line=on_line)
            return self._run_away(stage, force=force, on_line=on_line)
        except InterruptedError:
            raise
        except Exception as error:
            # Of git, DVC and the remote's own library; which of them pass is told by what they say.
            said = last_reason(str(error)) or type(error).__name__
            kind: Literal["interrupted", "failed"] = "interrupted" if passes_by_itself(said) else "failed"
            return Outcome(stage=stage, kind=kind, said=said)

    def _run_away(self, stage: str, *, force: bool, on_line: Callable[[str], None]) -> Outcome:
        with self._clone:
            errand = self._pack(stage, force=force)
            if errand is None:
                return self._home.run(stage, force=force, on_line=on_line)
        try:
            arrived = self._send(errand)
        finally:
            git_transfer.recall(self._workspace, errand.repository, errand.reference)
        return arrived if isinstance(arrived, Outcome) else self._unpack(stage, arrived)

    def stop(self) -> None:
        """End what is running, here and on the nodes, and leave the cluster."""
        self._stopped = True
        self._home.stop()
        for future in list(self._waiting):
            self._cluster.cancel(future)
        self._runner.__exit__(None, None, None)

    def _pack(self, stage: str, *, force: bool) -> Errand | None:
        """None if the stage needs no node: it is up to date, was run before, or cannot travel."""
        packed = self._goods("pack", stage=stage, force=force)
        if not packed["away"]:
            return None
        repository = self._settings.repository
        name = git_transfer.reference(self._run, stage)
        git_transfer.post(self._workspace, repository, name)
        return Errand(
            run=self._run,
            stage=stage,
            force=force,
            repository=repository,
            reference=name,
            inputs=tuple(packed["inputs"]),
            remote=self._remote,
            remote_settings=self._remote_settings,
            environment={TRACKING_URI: self._workspace.environment[TRACKING_URI], SCRATCH: "1"},
        )

    def _send(self, errand: Errand) -> Delivery | Outcome:
        """Wait for the node; a cluster that loses it says so with an exception of its own."""
        with self._cluster.options():
            future = self._runner.submit(on_node, {"errand": errand})
        self._waiting.add(future)
        try:
            found = future.result(raise_on_failure=False)
        except Exception as error:
            return _lost(errand.stage, f"{type(error).__name__}: {error}")
        finally:
            self._waiting.discard(future)
        return found if isinstance(found, Delivery) else _failed(errand.stage, future.state)

    def _unpack(self, stage: str, delivery: Delivery) -> Outcome:
        with self._clone:
            brought = self._goods("bring", stage=stage, entry=delivery.entry)
        if brought["fits"]:
            return Outcome(stage=stage, kind="ran", said=f"it has run on {delivery.where}")
        said = f"it ran on {delivery.where} with other inputs than those that lie here; start the run again"
        return Outcome(stage=stage, kind="failed", said=said)

    def _goods(self, operation: str, **given: object) -> dict[str, Any]:
        return dvc_transfer.operate(self._workspace.root, self._workspace.environment, operation, **given)


def _failed(stage: str, state: State[Any]) -> Outcome:
    said = state.message or "it failed on its node, which did not say why"
    if state.is_crashed():
        return _lost(stage, said)
    return Outcome(stage=stage, kind="interrupted" if state.name == INTERRUPTED else "failed", said=said)


def _lost(stage: str, reason: str) -> Outcome:
    first = reason.strip().splitlines()[0]
    return Outcome(stage=stage, kind="interrupted", said=f"its node was lost in the middle of it ({first})")
