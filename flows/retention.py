"""What is old goes: observations and pictures by the service's settings, and what training runs left behind.

    python -m flows.retention
    prefect deployment run retention/retention

Other processes go on meanwhile: rows go in
batches; folders of training runs wait for a day without one.
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
from flows.repro.workspace import CHECKPOINTS, WORKSPACES, only_training
from flows.settings import service_settings
from flows.training.flow import failed, run_command
from pipelines.core.cli import quiet_libraries
from serving.errors import ServingError
from serving.observations.images import PictureFolder
from serving.observations.store import Store
from serving.settings import Settings

_DAY_S = 24 * 3600.0
_SQLITE = "sqlite:///"
Days = Annotated[float, Field(gt=0)]


@flow(name="retention", persist_result=False)
def retention(
    workspace_days: Days = 7.0, checkpoint_days: Days = 30.0, snapshot_days: Days = 14.0
) -> State[Any]:
    """Delete what is older than it may become.

    Observations and pictures follow MIEN_RETENTION_DAYS and MIEN_KEEP_IMAGES_DAYS, as in the service.

    Args:
        workspace_days: of training runs' clones; their results lie in a branch and in DVC's cache.
        checkpoint_days: of the training state that an abandoned run left.
        snapshot_days: of drift reports in Evidently's workspace, 0.7 MB each and one an hour; MLflow keeps
            those of windows that drifted.
    """
    home, now = Path.cwd(), time.time()
    steps: dict[str, Callable[[], int]] = {
        "observations": lambda: delete_observations(service_settings(), now),
        "days of pictures": lambda: delete_pictures(service_settings(), now),
        "drift snapshots": lambda: delete_snapshots(home / DRIFT_WORKSPACE, now - snapshot_days * _DAY_S),
        "workspaces": lambda: delete_of_training(home, WORKSPACES, now - workspace_days * _DAY_S, spare=1),
        "checkpoints": lambda: delete_of_training(home, CHECKPOINTS, now - checkpoint_days * _DAY_S),
    }
    states = {what: delete(what, step, return_state=True) for what, step in steps.items()}
    said = "; ".join(f"{what}: {state.message}" for what, state in states.items())
    whole = all(state.is_completed() for state in states.values())
    return Completed(message=said) if whole else failed(said)


@task(name="delete", task_run_name="{what}", cache_policy=NO_CACHE, persist_result=False)
def delete(what: str, step: Callable[[], int]) -> State[Any]:
    """Run one step; one that fails keeps no other from its work."""
    try:
        count = step()
    except TrainingBusy:
        return Completed(message="a training is running, so they stay for now")
    except (FlowError, ServingError, OSError) as error:
        return Failed(message=str(error))
    return Completed(message=f"{count} deleted" if count else "none was old enough")


def delete_observations(settings: Settings, now: float) -> int:
    """Delete observations, their feedback and their pictures that are too old; how many rows.

    Raises:
        ServingError: the database is away or not to be used.
    """
    url = settings.database_url.reveal()
    if url.startswith(_SQLITE) and not Path(url.removeprefix(_SQLITE)).exists():
        return 0  # nothing was ever observed; asking would create the file
    store = Store(url, pictures=_pictures(settings))
    try:
        return store.purge(now - settings.retention_days * _DAY_S)
    finally:
        store.close()


def delete_pictures(settings: Settings, now: float) -> int:
    """Delete kept pictures that are too old; how many days of them."""
    return _pictures(settings).purge(now - settings.keep_images_days * _DAY_S)


def delete_of_training(checkout: Path, home: Path, before: float, *, spare: int = 0) -> int:
    """`delete_folders` below a checkout while no training runs there.

    Raises:
        TrainingBusy: one runs.
    """
    with only_training(checkout, patience_s=0.0):
        return delete_folders(checkout / home, before, spare=spare)


def delete_folders(home: Path, before: float, *, spare: int = 0) -> int:
    """Delete folders that nothing was written into since.

    Args:
        home: their parent; need not exist.
        before: seconds since 1970 (UTC).
        spare: so many of the newest stay in any case.
    """
    folders = [path for path in home.iterdir() if path.is_dir()] if home.is_dir() else []
    by_age = sorted(folders, key=_written, reverse=True)
    old = [path for path in by_age[spare:] if _written(path) < before]
    for path in old:
        shutil.rmtree(path)
    return len(old)


def _written(folder: Path) -> float:
    """When something in a folder, or directly below, last changed."""
    return max(path.lstat().st_mtime for path in (folder, *folder.iterdir()))


def _pictures(settings: Settings) -> PictureFolder:
    return PictureFolder(settings.keep_images_dir, fraction=0.0)


def main() -> None:
    """Run the flow from the command line."""
    quiet_libraries()
    run_command(retention, {})


if __name__ == "__main__":
    main()
