"""The task that runs one DVC stage. Prefect caches nothing here: what is stale is DVC's to know."""

from __future__ import annotations

from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Completed, Failed
from prefect.tasks import Task

from flows.cluster.engines import Place
from flows.repro.progress import EpochProgress
from flows.repro.stages import Outcome

UNCHANGED = "unchanged"
RESTORED = "restored"
INTERRUPTED = "Interrupted"
"""Name of the failed state of a stage whose reason passes by itself; only these are tried again."""

# Seconds. A lock is held for as long as DVC hashes files; a restarted server is back after a minute or two.
RETRY_DELAYS_S = (10, 30, 120)
_JITTER = 0.5


def passes_by_itself(_: Task[..., Any], __: TaskRun, state: State[Any]) -> bool:
    """Whether trying again may help: contention and infrastructure, never a verdict on data or model."""
    return state.name == INTERRUPTED


@task(
    name="stage",
    task_run_name="{stage}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_DELAYS_S),
    retry_delay_seconds=list(RETRY_DELAYS_S),
    retry_jitter_factor=_JITTER,
    retry_condition_fn=passes_by_itself,
)
def run_stage(stage: str, place: Place, *, force: bool = False) -> State[Any]:
    """Let DVC bring one stage up to date.

    Args:
        stage: its name, `train@vgg`.
        place: where it runs.
        force: run it although nothing changed.

    Returns:
        Completed (`unchanged`, `restored` or simply completed), or Failed with one sentence.
    """
    logger = get_run_logger()
    with EpochProgress(stage) as progress:

        def on_line(line: str) -> None:
            logger.info("%s", line)
            progress.read(line)

        return state_of(place.run(stage, force=force, on_line=on_line))


def state_of(outcome: Outcome) -> State[Any]:
    """How Prefect shows an outcome."""
    if outcome.kind == "failed":
        return Failed(message=outcome.said)
    if outcome.kind == "interrupted":
        return Failed(name=INTERRUPTED, message=outcome.said)
    names = {"unchanged": UNCHANGED, "restored": RESTORED}
    return Completed(name=names.get(outcome.kind, "Completed"), message=outcome.said)
