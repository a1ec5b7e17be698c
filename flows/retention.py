"""The retention flow: deletes old observations, pictures, drift reports and files of training runs.

    python -m flows.retention
    prefect deployment run retention/retention

Other processes keep running meanwhile: rows are deleted in batches, and folders of training runs only while
no training runs.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from flows.drift.workspace import WORKSPACE as DRIFT_WORKSPACE
from flows.drift.workspace import delete_snapshots
from flows.errors import FlowError, TrainingBusy
from flows.repro.workspace import CHECKPOINTS, WORKSPACES, training_lock
from flows.settings import has_observations, service_settings
from flows.training.flow import failed, run_command
from pipelines.core.cli import quiet_libraries
from serving.errors import ServingError
from serving.observations.images import PictureFolder
from serving.observations.store import Store
from serving.settings import Settings

_DAY_S = 24 * 3600.0
Days = Annotated[float, Field(gt=0)]


@flow(name="retention", persist_result=False)
def retention(
    workspace_days: Days = 7.0, checkpoint_days: Days = 30.0, snapshot_days: Days = 14.0
) -> State[Any]:
    """Delete files and rows that are older than their maximum age.

    Observations and pictures have MIEN_RETENTION_DAYS and MIEN_KEEP_IMAGES_DAYS, as in the service.

    Args:
        workspace_days: maximum age of clones of training runs; results are in a branch and in DVC's cache.
        checkpoint_days: maximum age of the training state of an abandoned run.
        snapshot_days: maximum age of drift reports in Evidently's workspace, 0.7 MB each and one an hour;
            MLflow keeps those of windows that drifted.
    """
    checkout, now = Path.cwd(), time.time()
    steps: dict[str, Callable[[], int]] = {
        "observations": lambda: delete_observations(service_settings(), now),
        "days of pictures": lambda: delete_pictures(service_settings(), now),
        "drift snapshots": lambda: delete_snapshots(checkout / DRIFT_WORKSPACE, now - snapshot_days * _DAY_S),
        "workspaces": lambda: delete_unused(
            checkout, WORKSPACES, now - workspace_days * _DAY_S, keep_newest=1
        ),
        "checkpoints": lambda: delete_unused(checkout, CHECKPOINTS, now - checkpoint_days * _DAY_S),
    }
    states = {what: delete(what, step, return_state=True) for what, step in steps.items()}
    message = "; ".join(f"{what}: {state.message}" for what, state in states.items())
    succeeded = all(state.is_completed() for state in states.values())
    return Completed(message=message) if succeeded else failed(message)


@task(name="delete", task_run_name="{what}", cache_policy=NO_CACHE, persist_result=False)
def delete(what: str, step: Callable[[], int]) -> State[Any]:
    """Run one step; the other steps run even if it fails."""
    try:
        count = step()
    except TrainingBusy:
        return Completed(message="kept, because a training is running")
    except (FlowError, ServingError, OSError) as error:
        return Failed(message=str(error))
    return Completed(message=f"{count} deleted" if count else "none was old enough")


def delete_observations(settings: Settings, now: float) -> int:
    """Delete old observations with their feedback and pictures; returns the number of rows.

    Raises:
        ServingError: the database is unavailable or unusable.
    """
    if not has_observations(settings):
        return 0
    store = Store(settings.database_url.reveal(), pictures=_pictures(settings))
    try:
        return store.purge(now - settings.retention_days * _DAY_S)
    finally:
        store.close()


def delete_pictures(settings: Settings, now: float) -> int:
    """Delete old pictures; returns the number of days whose pictures were deleted."""
    return _pictures(settings).purge(now - settings.keep_images_days * _DAY_S)


def delete_unused(checkout: Path, home: Path, before: float, *, keep_newest: int = 0) -> int:
    """Run `delete_folders` in a checkout while no training runs there.

    Raises:
        TrainingBusy: a training is running.
    """
    with training_lock(checkout, timeout_s=0.0):
        return delete_folders(checkout / home, before, keep_newest=keep_newest)


def delete_folders(home: Path, before: float, *, keep_newest: int = 0) -> int:
    """Delete folders that have not changed since a point in time; returns their number.

    Args:
        home: their parent; need not exist.
        before: seconds since 1970 (UTC).
        keep_newest: number of newest folders that are kept at any age.
    """
    folders = [path for path in home.iterdir() if path.is_dir()] if home.is_dir() else []
    by_age = sorted(folders, key=_modified_s, reverse=True)
    old = [path for path in by_age[keep_newest:] if _modified_s(path) < before]
    for path in old:
        shutil.rmtree(path)
    return len(old)


def _modified_s(folder: Path) -> float:
    """Time of the last change of a folder or of its direct children."""
    return max(path.lstat().st_mtime for path in (folder, *folder.iterdir()))


def _pictures(settings: Settings) -> PictureFolder:
    return PictureFolder(settings.keep_images_dir, fraction=0.0)


def main() -> None:
    """Run the flow from the command line."""
    quiet_libraries()
    run_command(retention, {})


if __name__ == "__main__":
    main()
