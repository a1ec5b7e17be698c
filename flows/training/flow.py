"""The training flow: runs DVC's stages as Prefect tasks, several architectures in parallel.

    python -m flows.training --reason "new data"                        # here and now
    prefect deployment run training/training --param reason="new data"  # by the worker of `make up`

Works in a clone (flows.repro.workspace) and commits its results to a branch (flows.repro.reuse). Ends with
one line: the stages that failed, or the gate's decision and the registered version.

`failed` and `run_command` are for all flows: a flow ends with one sentence as its state, and as a command
with an exit status and without a traceback.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, cast

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun
from prefect.runtime import flow_run
from prefect.settings import PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, temporary_settings
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field

from flows.cluster.engines import Engine, engine_named, find_problems
from flows.errors import FlowError, TrainingBusy
from flows.repro import data, reuse
from flows.repro.graph import Plan, check_chosen, of_architectures, read_plan
from flows.repro.reuse import reuse_results
from flows.repro.scheduler import Future, PlanProgress, run_plan
from flows.repro.tasks import run_stage
from flows.repro.workspace import Workspace, open_workspace, training_lock, uncommitted
from flows.settings import training_run_name
from flows.training import artifacts
from flows.training.report import place_report
from flows.training.summary import current_results, summary_message
from pipelines.core import paths
from pipelines.core.cli import quiet_libraries
from pipelines.core.errors import PipelineError, RegistryError
from pipelines.core.params import Params, load_params
from pipelines.gate.record import read_verdict
from pipelines.register.status import Decision, RegistryStatus, decide, read_registry_status
from pipelines.tracking.runs import TRACKING_URI

# Logger of Prefect's engine; its records appear in Prefect's pages.
_LOGGER = "prefect.flow_runs"
_TIMEOUT = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS
# Prefect waits 20 s for a server that it starts itself, whose hundred migrations take twenty seconds on two
# idle cores.
_START_S = 120
# In the RuntimeError that Prefect then raises (prefect/server/api/server.py, SubprocessASGIServer.start).
_NOT_STARTED = "ephemeral Prefect API server"


def failed(message: str) -> State[Any]:
    """The state of a run that failed, with the reason as its message.

    Prefect's engine raises an exception for this state and logs it as unexpected, with a traceback through
    Prefect only; from now on this process drops such records.
    """
    logging.getLogger(_LOGGER).addFilter(_is_informative)
    return Failed(message=message)


def run_command(
    flow: Callable[..., State[Any]], parameters: dict[str, Any], *, named: bool = False
) -> NoReturn:
    """Run a flow as a command: print its final state, exit with 0 if it completed, else with 1.

    Args:
        flow: a Prefect flow.
        parameters: of the flow.
        named: whether to print the state's name before its message.
    """
    startup_timeout = (
        nullcontext() if _TIMEOUT.name in os.environ else temporary_settings({_TIMEOUT: _START_S})
    )
    try:
        with startup_timeout:
            state = flow(**parameters, return_state=True)
    except RuntimeError as error:
        if _NOT_STARTED not in str(error):
            raise
        print(
            "error: the Prefect server of this run did not start in time; start one with `make up` and "
            "`export PREFECT_API_URL=http://127.0.0.1:4200/api`, or set "
            f"{_TIMEOUT.name} to more seconds",
            file=sys.stderr,
        )
        sys.exit(1)
    print(f"{state.name}: {state.message}" if named else state.message)
    sys.exit(0 if state.is_completed() else 1)


def _is_informative(record: logging.LogRecord) -> bool:
    """Whether a record is more than the traceback of a flow's own failed state."""
    return not (record.exc_info and isinstance(record.exc_info[1], FailedRun))


ResultsTo = Literal["branch", "workspace"]


@flow(name="training", flow_run_name=training_run_name, persist_result=False)
def training(
    architectures: list[str] | None = None,
    profile: str | None = None,
    force: bool = False,
    reason: str = "",
    max_parallel: Annotated[int, Field(ge=1, le=64)] = 2,
    revision: str = "HEAD",
    results_to: ResultsTo = "branch",
    engine: str = "local",
) -> State[Any]:
    """Bring every stage of the pipeline up to date, including the gate.

    Args:
        architectures: only the stages of these; the comparison still reads all that params.yaml lists.
        profile: settings of `conf/NAME.yaml` instead of the committed params.yaml.
        force: run every stage even if nothing has changed.
        reason: of the run, appears in its name after "because".
        max_parallel: maximum number of stages at once.
        revision: branch, tag or commit of this repository.
        results_to: `branch` commits results to `training/COMMIT`; `workspace` leaves them in the run's clone.
        engine: where stages run: `local`, or a cluster's `ray` or `dask` (docs/scale.md).
    """
    checkout, started_s = Path.cwd(), time.time()
    try:
        chosen = engine_named(engine)
        if problems := find_problems(engine, checkout):
            return failed("; and ".join(problems))
        with training_lock(checkout) as lock:
            workspace = open_workspace(checkout, revision=revision, profile=profile, lock=lock)
            params = _configure(workspace, architectures, profile=profile, results_to=results_to)
            before = _status_before(workspace, params)
            data.restore(workspace)
            stages = read_plan(workspace.root, workspace.environment)
            plan = of_architectures(stages, architectures, params.architectures)
            progress = _run(plan, workspace, chosen, force=force, max_parallel=max_parallel)
            current = current_results(progress, workspace.root, since_s=started_s)
            decision = _publish(workspace, current, params, before=before)
            message = summary_message(plan, progress, decision)
            return _finish(plan, workspace, progress, message, results_to=results_to)
    except TrainingBusy as error:
        return Cancelled(message=str(error))
    except (FlowError, PipelineError) as error:
        return failed(str(error))


def _configure(
    workspace: Workspace, architectures: list[str] | None, *, profile: str | None, results_to: ResultsTo
) -> Params:
    """Copy earlier results, DVC's settings and those of the profile to the clone; returns its parameters."""
    logger = get_run_logger()
    logger.info("working in %s, commit %s", workspace.root, workspace.commit)
    if ignored := uncommitted(workspace.checkout):
        logger.warning("this run ignores uncommitted changes in %s", ", ".join(ignored))
    if other := reuse_results(workspace):
        logger.info("starting with the results in %s", other)
    data.configure(workspace)
    if profile is not None:
        reuse.use_profile(workspace, profile, publish=results_to == "branch")
    params = load_params(workspace.root / paths.PARAMS)
    check_chosen(architectures, params.architectures)
    return params


def _run(plan: Plan, workspace: Workspace, engine: Engine, *, force: bool, max_parallel: int) -> PlanProgress:
    executor = engine.executor(workspace, max_parallel)
    with engine.runner(max_parallel) as runner:

        def submit(stage: str, before: Sequence[Future]) -> Future:
            parameters = {"stage": stage, "executor": executor, "force": force}
            return cast(Future, runner.submit(run_stage, parameters, wait_for=before))

        try:
            return run_plan(plan, submit, max_parallel=max_parallel)
        finally:
            # Otherwise the runner of a cancelled run would wait until its stages have ended.
            executor.stop()


def _standing(workspace: Workspace, params: Params) -> RegistryStatus:
    uri = workspace.environment[TRACKING_URI]
    return read_registry_status(workspace.root, params.register_.model, uri=uri)


def _status_before(workspace: Workspace, params: Params) -> RegistryStatus | None:
    try:
        return _standing(workspace, params)
    except RegistryError:
        return None  # the stage that needs the registry fails with the reason


def _publish(
    workspace: Workspace, current: Collection[Path], params: Params, *, before: RegistryStatus | None
) -> Decision | None:
    """Publish the results of this run; returns the gate's decision, None if it did not run."""
    root, uri = workspace.root, workspace.environment[TRACKING_URI]
    decision = None
    if paths.GATE in current:
        verdict = read_verdict(root / paths.GATE)
        decision = decide(verdict, before=before, ask=lambda: _standing(workspace, params))
    report = "not written: the run stopped before it"
    if paths.REPORT in current:
        report = place_report(root / paths.REPORT, decision, tracking_uri=uri)
    artifacts.publish(root, current, decision, tracking_uri=uri, report=report)
    return decision


def _finish(
    plan: Plan, workspace: Workspace, progress: PlanProgress, message: str, *, results_to: ResultsTo
) -> State[Any]:
    # Results of a rejected model are complete too; incomplete ones stay in the clone for the next run.
    complete = not plan.blocked_by(progress.failed) and reuse.is_complete(workspace)
    if results_to == "branch" and complete:
        branch = reuse.commit(workspace, f"Results of {flow_run.name}")
        if branch is not None:
            get_run_logger().info("results: git merge %s && dvc checkout", branch)
            message += f"; results are the branch {branch}"
    return failed(message) if progress.failed else Completed(message=message)


def main() -> None:
    """Run the flow from the command line."""
    parser = argparse.ArgumentParser(description="Bring the pipeline up to date in a clone of this checkout.")
    parser.add_argument("--architectures", nargs="+", help="only the stages of these")
    parser.add_argument("--profile", help="settings of conf/NAME.yaml")
    parser.add_argument("--force", action="store_true", help="run every stage even if nothing has changed")
    parser.add_argument("--reason", default="", help="reason, for the run's name")
    parser.add_argument("--max-parallel", type=int, default=2, help="maximum number of stages at once (2)")
    parser.add_argument("--revision", default="HEAD", help="branch, tag or commit (HEAD)")
    parser.add_argument("--results-to", choices=("branch", "workspace"), default="branch")
    parser.add_argument("--engine", default="local", help="where stages run: local, ray, dask (local)")
    quiet_libraries()
    options = parser.parse_args()
    # Before a Prefect server is started, and all problems together.
    if problems := find_problems(options.engine, Path.cwd(), check_servers=True):
        print("\n".join(f"error: {problem}" for problem in problems), file=sys.stderr)
        sys.exit(1)
    run_command(training, vars(options))
