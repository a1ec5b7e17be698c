"""A node's part: fetch the commit into a scratch folder, pull what a stage reads, run it, push results."""

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
from flows.cluster.job import Delivery, Errand
from flows.repro import commands
from flows.repro.progress import EpochProgress
from flows.repro.stages import Kind, Outcome, Stages, passes_by_itself
from flows.repro.tasks import state_of
from flows.repro.workspace import link_checkpoints
from pipelines.run_record import last_reason

# Runs whose folder a node has not touched for so long are over: longer than a weekly schedule's training.
_KEPT_S = 7 * 24 * 3600


@task(name="node", task_run_name="{errand.stage} on a node", cache_policy=NO_CACHE, persist_result=False)
def on_node(errand: Errand) -> Delivery | State[Any]:
    """Run one stage here and leave its results in the remote.

    Returns:
        What to bring home, or Failed with one sentence, named as `run_stage` names it.
    """
    logger = get_run_logger()
    where = socket.gethostname()
    logger.info("%s runs on %s", errand.stage, where)
    try:
        with EpochProgress(errand.stage) as progress:

            def on_line(line: str) -> None:
                logger.info("%s", line)
                progress.read(line)

            return _run(errand, where, on_line)
    except Exception as error:
        # Whatever git, DVC and the remote's own library raise; which of them pass is told by what they say.
        logger.debug("%s", errand.stage, exc_info=True)
        said = f"{where}: {last_reason(str(error)) or type(error).__name__}"
        kind: Kind = "interrupted" if passes_by_itself(said) else "failed"
        return state_of(Outcome(stage=errand.stage, kind=kind, said=said))


def _run(errand: Errand, where: str, on_line: Callable[[str], None]) -> Delivery | State[Any]:
    variables = commands.environment(os.environ, **errand.environment)
    shared = _shared_folder(errand.run)
    # A clone for each stage, for dvc.lock is the stage's own; DVC's cache is common to all of them.
    with tempfile.TemporaryDirectory(dir=shared, prefix="stage-") as folder:
        root = Path(folder) / "repository"
        git_transfer.receive(root, errand.repository, errand.reference, variables)
        link_checkpoints(root, shared / "checkpoints")
        common = {"remote": errand.remote, "settings": errand.remote_settings, "cache": str(shared / "cache")}
        dvc_transfer.operate(root, variables, "fetch", inputs=errand.inputs, **common)
        stages = Stages(root, variables)
        with stopped_when_cancelled(stages.stop):
            outcome = stages.run(errand.stage, force=errand.force, on_line=on_line)
        if outcome.kind in ("failed", "interrupted"):
            return state_of(outcome)
        delivered = dvc_transfer.operate(root, variables, "deliver", stage=errand.stage)
        return Delivery(where=where, entry=delivered["entry"])


def _shared_folder(run: str) -> Path:
    """What a run's stages share on this node; folders of runs that are long over go."""
    home = scratch_folder()
    folder = home / run
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.utime(folder)
    for other in home.iterdir():
        if time.time() - other.stat().st_mtime > _KEPT_S:
            shutil.rmtree(other, ignore_errors=True)
    return folder
