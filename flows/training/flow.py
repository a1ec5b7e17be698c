"""The training flow: DVC's stages as tasks, architectures side by side; a reason and a result to look at.

    python -m flows.training --reason "new data"                        # here and now
    prefect deployment run training/training --param reason="new data"  # by the worker of `make up`

Works in a clone (flows.repro.workspace) and leaves its results as a branch (flows.repro.reuse). Ends with
one line: what failed, or what the gate decided and the registry holds.

How flows end: with a sentence as their state, and a status and no traceback on the command line.
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

from flows.cluster.engines import Engine, engine_named, missing_for
from flows.errors import FlowError, TrainingBusy
from flows.repro import data, reuse
from flows.repro.graph import Plan, check_chosen, of_architectures, read_plan
from flows.repro.reuse import adopt
from flows.repro.scheduler import Future, Progress, conduct
from flows.repro.tasks import run_stage
from flows.repro.workspace import Workspace, only_training, open_workspace, uncommitted
from flows.settings import training_run_name
from flows.training import artifacts
from flows.training.report import place_report
from flows.training.summary import results_of, said_of
from pipelines.core import paths
from pipelines.core.cli import quiet_libraries
from pipelines.core.errors import PipelineError, RegistryError
from pipelines.core.io import read_json
from pipelines.core.params import Params, load_params
from pipelines.register.status import Decision, Standing, decide, read_standing
from pipelines.tracking.runs import TRACKING_URI

# Where the engine logs how a run went; its records reach Prefect's pages.
_LOGGER = "prefect.flow_runs"
_TIMEOUT = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS
# Prefect waits 20 s for the server that it starts for itself, whose hundred migrations take twenty seconds
# on two idle cores.
_START_S = 120
# Of the RuntimeError that Prefect raises then (prefect/server/api/server.py, SubprocessASGIServer.start).
_NOT_STARTED = "ephemeral Prefect API server"


def failed(message: str) -> State[Any]:
    """The state of a run that failed for a reason which `message` tells.

    The engine turns the state into an exception of its own and logs that as unexpected, with a traceback
    through Prefect alone; from now on this process leaves such records out.
    """
    logging.getLogger(_LOGGER).addFilter(_is_news)
    return Failed(message=message)


def run_command(
    flow: Callable[..., State[Any]], parameters: dict[str, Any], *, named: bool = False
) -> NoReturn:
    """Run a flow as a command: print its last state, end with status 0 where it completed, else 1.

    Args:
        flow: of Prefect.
        parameters: of the flow.
        named: whether the state's name stands before its message.
    """
    patient = nullcontext() if _TIMEOUT.name in os.environ else temporary_settings({_TIMEOUT: _START_S})
    try:
        with patient:
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


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record says more than the state that a flow has returned."""
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
    """Bring every stage of the pipeline up to date and ask the gate.

    Args:
        architectures: only the stages of these; the comparison still reads what params.yaml lists.
        profile: settings of `conf/NAME.yaml` instead of params.yaml as it is committed.
        force: run every stage although nothing changed.
        reason: why, as it shall stand in the run's name after "because".
        max_parallel: most stages that run at once.
        revision: branch, tag or commit of this repository.
        results_to: `branch` commits them to `training/COMMIT`; `workspace` leaves them in the run's clone.
        engine: where stages run: `local`, or a cluster's `ray` or `dask` (docs/scale.md).
    """
    checkout, started_s = Path.cwd(), time.time()
    try:
        chosen = engine_named(engine)
        if missing := missing_for(engine, checkout):
            return failed("; and ".join(missing))
        with only_training(checkout) as lock:
            workspace = open_workspace(checkout, revision=revision, profile=profile, lock=lock)
            params = _settle(workspace, architectures, profile=profile, results_to=results_to)
            before = _before(workspace, params)
            data.restore(workspace)
            stages = read_plan(workspace.root, workspace.environment)
            plan = of_architectures(stages, architectures, params.architectures)
            progress = _run(plan, workspace, chosen, force=force, max_parallel=max_parallel)
            current = results_of(progress, workspace.root, since_s=started_s)
            decision = _show(workspace, current, params, before=before)
            said = said_of(plan, progress, decision)
            return _end(plan, workspace, progress, said, results_to=results_to)
    except TrainingBusy as error:
        return Cancelled(message=str(error))
    except (FlowError, PipelineError) as error:
        return failed(str(error))


def _settle(
    workspace: Workspace, architectures: list[str] | None, *, profile: str | None, results_to: ResultsTo
) -> Params:
    """Give the clone earlier results, settings of DVC and of the profile; returns its parameters."""
    logger = get_run_logger()
    logger.info("working in %s, commit %s", workspace.root, workspace.commit)
    if left_out := uncommitted(workspace.checkout):
        logger.warning("not part of this run, for it is not committed: %s", ", ".join(left_out))
    if other := adopt(workspace):
        logger.info("going on from the results in %s", other)
    data.configure(workspace)
    if profile is not None:
        reuse.use_profile(workspace, profile, publish=results_to == "branch")
    params = load_params(workspace.root / paths.PARAMS)
    check_chosen(architectures, params.architectures)
    return params


def _run(plan: Plan, workspace: Workspace, engine: Engine, *, force: bool, max_parallel: int) -> Progress:
    place = engine.place(workspace, max_parallel)
    with engine.runner(max_parallel) as runner:

        def submit(stage: str, before: Sequence[Future]) -> Future:
            given = {"stage": stage, "place": place, "force": force}
            return cast(Future, runner.submit(run_stage, given, wait_for=before))

        try:
            return conduct(plan, submit, max_parallel=max_parallel)
        finally:
            # Cancelled or terminated, the runner would otherwise wait for the stages' ends.
            place.stop()


def _standing(workspace: Workspace, params: Params) -> Standing:
    uri = workspace.environment[TRACKING_URI]
    return read_standing(workspace.root, params.register_.model, uri=uri)


def _before(workspace: Workspace, params: Params) -> Standing | None:
    try:
        return _standing(workspace, params)
    except RegistryError:
        return None  # the stage that needs it fails and says why


def _show(
    workspace: Workspace, current: Collection[Path], params: Params, *, before: Standing | None
) -> Decision | None:
    """Publish the results of this run; returns what the gate decided, None where it was not asked."""
    root, uri = workspace.root, workspace.environment[TRACKING_URI]
    decision = None
    if paths.GATE in current:
        verdict = read_json(root / paths.GATE)
        decision = decide(verdict, before=before, ask=lambda: _standing(workspace, params))
    report = "not written: the run stopped before it"
    if paths.REPORT in current:
        report = place_report(root / paths.REPORT, decision, tracking_uri=uri)
    artifacts.publish(root, current, decision, tracking_uri=uri, report=report)
    return decision


def _end(
    plan: Plan, workspace: Workspace, progress: Progress, said: str, *, results_to: ResultsTo
) -> State[Any]:
    # A rejected model's results are whole too; half of a plan's stay in the clone, for the next run.
    whole = not plan.blocked_by(progress.failed) and reuse.are_whole(workspace)
    if results_to == "branch" and whole:
        branch = reuse.commit(workspace, f"Results of {flow_run.name}")
        if branch is not None:
            get_run_logger().info("results: git merge %s && dvc checkout", branch)
            said += f"; results are the branch {branch}"
    return failed(said) if progress.failed else Completed(message=said)


def main() -> None:
    """Run the flow from the command line."""
    parser = argparse.ArgumentParser(description="Bring the pipeline up to date in a clone of this checkout.")
    parser.add_argument("--architectures", nargs="+", help="only the stages of these")
    parser.add_argument("--profile", help="settings of conf/NAME.yaml")
    parser.add_argument("--force", action="store_true", help="run every stage although nothing changed")
    parser.add_argument("--reason", default="", help="why, for the run's name")
    parser.add_argument("--max-parallel", type=int, default=2, help="most stages at once (2)")
    parser.add_argument("--revision", default="HEAD", help="branch, tag or commit (HEAD)")
    parser.add_argument("--results-to", choices=("branch", "workspace"), default="branch")
    parser.add_argument("--engine", default="local", help="where stages run: local, ray, dask (local)")
    quiet_libraries()
    options = parser.parse_args()
    # Before a Prefect server is started or asked, and all at once.
    if missing := missing_for(options.engine, Path.cwd(), reach=True):
        print("\n".join(f"error: {problem}" for problem in missing), file=sys.stderr)
        sys.exit(1)
    run_command(training, vars(options))
