"""The collect flow: adds kept pictures with feedback or agreed labels to the data, as a version in a branch.

    python -m flows.collect
    prefect deployment run collect/collect

Uses the pictures that the service has kept (MIEN_KEEP_IMAGES). Works in a clone, which is deleted at the end.
`git merge collected && dvc checkout data.dvc` applies the new version; `--param revision=collected` trains on
it without a merge.
"""

from __future__ import annotations

import argparse
import fcntl
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.collect.crops import FaceCrops
from flows.collect.dataset import add_version, read_contents
from flows.collect.intake import Intake, select_pictures
from flows.errors import CollectRefused, FlowError, WorkspaceFailed
from flows.repro import data, reuse
from flows.repro.workspace import HOME, Workspace, new_workspace
from flows.settings import has_observations, service_settings
from flows.training.flow import failed, run_command
from pipelines.core import paths
from pipelines.core.cli import quiet_libraries
from pipelines.core.errors import PipelineError
from pipelines.core.params import load_params
from serving.errors import ServingError
from serving.observations.images import PictureFolder
from serving.observations.labels import LabelledPicture, LabelStore
from serving.settings import Settings

BRANCH = "collected"
NOTHING = "Nothing new"
"""Name of the completed state when there was nothing to add."""
TABLE, SUMMARY = "collect-classes", "collect-summary"
"""Keys of the artifacts."""
_LOCK = HOME / "collect.lock"


@flow(name="collect", persist_result=False)
def collect(revision: str = "HEAD", train: bool = False) -> State[Any]:
    """Add kept pictures with feedback or agreed labels to the data.

    Args:
        revision: branch, tag or commit with the data; pictures in the branch `collected` that are not merged
            yet stay in it.
        train: whether to start the training deployment on the branch if pictures were added.
    """
    quiet_libraries()
    try:
        settings = service_settings()
        if not settings.keep_images:
            return Completed(
                name=NOTHING,
                message="no pictures are collected, because MIEN_KEEP_IMAGES is 0",
            )
        labelled = _labelled_pictures(settings)
        if not labelled:
            return Completed(name=NOTHING, message="no kept picture has feedback or an agreed label")
        with _only_collect(Path.cwd()) as lock, _cloned(Path.cwd(), revision, lock) as workspace:
            return _collect(labelled, workspace, settings, train=train)
    except (FlowError, PipelineError, ServingError) as error:
        return failed(str(error))
    except OSError as error:
        return failed(f"{error.filename or 'collecting'}: {error.strerror or error}")


def _collect(
    labelled: list[LabelledPicture], workspace: Workspace, settings: Settings, *, train: bool
) -> State[Any]:
    params = load_params(workspace.root / paths.PARAMS)
    contents = read_contents(
        workspace.root,
        params.prepare,
        seed=params.seed,
        minimum=params.validate_.min_per_class_and_split,
    )
    pictures = PictureFolder(settings.keep_images_dir, fraction=0.0)
    crops = FaceCrops(params.prepare, margin=settings.face_margin)
    intake = select_pictures(labelled, pictures, contents, crops)
    if not intake.accepted:
        message = _counts(intake)
        publish(intake, message)
        return Completed(name=NOTHING, message=message)
    for picture in intake.accepted:
        (contents.folder / picture.label / picture.name).write_bytes(picture.data)
    remote = add_version(workspace)
    branch = reuse.commit(workspace, f"{_pictures(len(intake.accepted))} with labels join the data")
    if branch is None:
        raise CollectRefused("the data have a new version, and git sees no change; is data.dvc ignored?")
    location = f"pushed to {remote}" if remote else "in this checkout's cache only: DVC has no default remote"
    message = f"{_counts(intake)}; they are the branch {branch}, {location}"
    if train:
        message += f"; {_train(intake, branch)}"
    publish(intake, message)
    return Completed(message=message)


def _labelled_pictures(settings: Settings) -> list[LabelledPicture]:
    if not has_observations(settings):
        return []
    store = LabelStore(settings.database_url.reveal(), needed=settings.labels_needed)
    try:
        return store.labelled_pictures()
    finally:
        store.close()


@contextmanager
def _only_collect(checkout: Path) -> Iterator[int]:
    """Hold the checkout's lock; yields its file descriptor."""
    path = checkout / _LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CollectRefused(
                "another run is collecting in this checkout; wait until it has ended"
            ) from error
        yield file.fileno()


@contextmanager
def _cloned(checkout: Path, revision: str, lock: int) -> Iterator[Workspace]:
    """A temporary clone with the data of the revision and of the branch `collected`."""
    workspace = new_workspace(checkout, "collect", branch=BRANCH, revision=revision, lock=lock)
    try:
        merged = workspace.git(*reuse.author(workspace), "merge", "--quiet", "--no-edit", workspace.commit)
        if merged.status != 0:
            raise WorkspaceFailed(
                what=f"the branch {BRANCH}",
                reason=f"its data and those of {revision} have both changed",
                remedy=f"merge it by hand, or delete it to collect again: git branch -D {BRANCH}",
            )
        data.configure(workspace)
        data.restore(workspace)
        yield workspace
    finally:
        # It contains people's pictures.
        shutil.rmtree(workspace.root, ignore_errors=True)


def _train(intake: Intake, branch: str) -> str:
    from prefect.client.orchestration import get_client

    from flows.drift.alarm import running_training, start_training

    with get_client(sync_client=True) as client:
        if running := running_training(client):
            return f"no training: {running.name} is already running"
        reason = f"{_pictures(len(intake.accepted))} with labels came in"
        started = start_training(client, reason, key=f"collect {flow_run.id}", revision=branch)
        return f"started training {started.name}"


def publish(intake: Intake, message: str) -> None:
    """Create Prefect artifacts: a table of pictures by class, and a summary with the reasons for refusals."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    get_run_logger().info("%s", message)
    if intake.accepted:
        classes = Counter(picture.label for picture in intake.accepted)
        create_table_artifact(
            [{"class": name, "new pictures": count} for name, count in sorted(classes.items())],
            key=TABLE,
            description=f"{_pictures(len(intake.accepted))} with labels",
        )
    lines = [f"## {_pictures(len(intake.accepted))} came in", "", message, ""]
    lines += [f"* refused: {count}, {reason}" for reason, count in _sorted(intake.refused)]
    create_markdown_artifact("\n".join(lines), key=SUMMARY)


def _counts(intake: Intake) -> str:
    refused = "; ".join(f"{count} refused: {reason}" for reason, count in _sorted(intake.refused))
    message = f"{_pictures(len(intake.accepted))} came in"
    return f"{message}; {refused}" if refused else message


def _sorted(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count or 'no'} pictures"


def main() -> None:
    """Run the flow from the command line."""
    parser = argparse.ArgumentParser(
        description="Add kept pictures with feedback or agreed labels to the data, in a branch."
    )
    parser.add_argument("--revision", default="HEAD", help="branch, tag or commit to add to (HEAD)")
    parser.add_argument("--train", action="store_true", help="start the training deployment on the branch")
    run_command(collect, vars(parser.parse_args()), named=True)
