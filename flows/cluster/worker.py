"""The node's side of a job: fetch the commit, pull the stage's inputs, run the stage, push its results."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from flows.cluster import dvc_transfer, git_transfer
from flows.cluster.backends import scratch_folder, stopped_when_cancelled
from flows.cluster.job import Job, JobResult
from flows.repro import commands
from flows.repro.executor import LocalExecutor
from flows.repro.progress import EpochProgress
from flows.repro.stages import error_outcome
from flows.repro.tasks import state_of
from flows.repro.workspace import link_checkpoints

# A run has ended if nothing has used its folder for this long: longer than the training of a weekly schedule.
_KEPT_S = 7 * 24 * 3600


@task(name="node", task_run_name="{job.stage} on a node", cache_policy=NO_CACHE, persist_result=False)
def run_job(job: Job) -> JobResult | State[Any]:
    """Run one stage here and push its results to the remote.

    Returns:
        The results' entry in the run cache, or Failed with one sentence, named as `run_stage` names it.
    """
    logger = get_run_logger()
    host = socket.gethostname()
    logger.info("%s runs on %s", job.stage, host)
    try:
        with EpochProgress(job.stage) as progress:

            def on_line(line: str) -> None:
                logger.info("%s", line)
                progress.read(line)

            return _run(job, host, on_line)
    # Also what git, DVC and the library of the remote raise: the coordinator needs one sentence.
    except Exception as error:
        logger.debug("%s", job.stage, exc_info=True)
        return state_of(error_outcome(job.stage, error, host=host))


def _run(job: Job, host: str, on_line: Callable[[str], None]) -> JobResult | State[Any]:
    variables = commands.environment(os.environ, **job.environment)
    shared = _shared_folder(job.run)
    # Each stage has a clone, because dvc.lock belongs to the stage; all stages share DVC's cache.
    with tempfile.TemporaryDirectory(dir=shared, prefix="stage-") as folder:
        root = Path(folder) / "repository"
        git_transfer.fetch_snapshot(root, job.repository, job.reference, variables)
        link_checkpoints(root, shared / "checkpoints")
        dvc_transfer.run_operation(
            root,
            variables,
            "pull_inputs",
            inputs=job.inputs,
            remote=job.remote,
            settings=job.remote_settings,
            cache=str(shared / "cache"),
        )
        executor = LocalExecutor(root, variables)
        with stopped_when_cancelled(executor.stop):
            outcome = executor.run(job.stage, force=job.force, on_line=on_line)
        if outcome.kind in ("failed", "interrupted"):
            return state_of(outcome)
        pushed = dvc_transfer.run_operation(root, variables, "push_results", stage=job.stage)
        return JobResult(host=host, cache_entry=pushed["entry"])


def _shared_folder(run: str) -> Path:
    """The folder that the stages of a run share on this node; deletes folders of runs that ended long ago."""
    home = scratch_folder()
    folder = home / run
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.utime(folder)
    for other in home.iterdir():
        if time.time() - other.stat().st_mtime > _KEPT_S:
            shutil.rmtree(other, ignore_errors=True)
    return folder
