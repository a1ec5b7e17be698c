"""The Prefect task that runs one DVC stage. Prefect caches nothing here: DVC decides what is stale."""

from __future__ import annotations

from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Completed, Failed
from prefect.tasks import Task

from flows.repro.executor import StageExecutor
from flows.repro.progress import EpochProgress
from flows.repro.stages import StageOutcome

UNCHANGED = "unchanged"
RESTORED = "restored"
INTERRUPTED = "Interrupted"
"""Name of the failed state of a task with a temporary reason; only these tasks are tried again."""

# Seconds. DVC holds its lock while it hashes files; a restarted server answers after a minute or two.
RETRY_DELAYS_S = (10, 30, 120)
_JITTER = 0.5


def may_retry(_: Task[..., Any], __: TaskRun, state: State[Any]) -> bool:
    """Whether another try may help: after contention and lost connections, not after a verdict."""
    return state.name == INTERRUPTED


@task(
    name="stage",
    task_run_name="{stage}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_DELAYS_S),
    retry_delay_seconds=list(RETRY_DELAYS_S),
    retry_jitter_factor=_JITTER,
    retry_condition_fn=may_retry,
)
def run_stage(stage: str, executor: StageExecutor, *, force: bool = False) -> State[Any]:
    """Bring one stage up to date.

    Args:
        stage: its name, `train@vgg`.
        executor: runs it.
        force: run the stage even if nothing has changed.

    Returns:
        Completed (`unchanged`, `restored` or simply completed), or Failed with one sentence.
    """
    logger = get_run_logger()
    with EpochProgress(stage) as progress:

        def on_line(line: str) -> None:
            logger.info("%s", line)
            progress.read(line)

        return state_of(executor.run(stage, force=force, on_line=on_line))


def state_of(outcome: StageOutcome) -> State[Any]:
    """Convert an outcome to a Prefect state."""
    if outcome.kind == "failed":
        return Failed(message=outcome.message)
    if outcome.kind == "interrupted":
        return Failed(name=INTERRUPTED, message=outcome.message)
    names = {"unchanged": UNCHANGED, "restored": RESTORED}
    return Completed(name=names.get(outcome.kind, "Completed"), message=outcome.message)
