"""The training flow on real git and DVC repositories with small stages, against a real Prefect server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, TaskRun
from prefect.client.schemas.sorting import TaskRunSort

from flows.repro import tasks
from flows.training.flow import training
from tests.support.dvc_project import DvcProject, new_project
from tests.support.prefect_server import newest_artifact

pytestmark = pytest.mark.usefixtures("prefect_api")

STAGES = ["prepare", "train@lenet", "train@vgg", "measure", "judge"]
QUICK = [name for name in STAGES if "@" not in name]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DvcProject:
    """Flows are started in it, as by its worker."""
    project = new_project(tmp_path / "project")
    monkeypatch.chdir(project.root)
    # The seconds between two tries are not what is tested.
    monkeypatch.setattr(tasks.run_stage, "retry_delay_seconds", [0.1])
    return project


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def run(**parameters: Any) -> State[Any]:
    state: State[Any] = training(**parameters, return_state=True)
    return state


def task_runs(client: SyncPrefectClient, state: State[Any]) -> dict[str, TaskRun]:
    only = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    found = client.read_task_runs(flow_run_filter=only, sort=TaskRunSort.NAME_ASC, limit=100)
    return {run.name: run for run in found}


def state_names(client: SyncPrefectClient, state: State[Any]) -> dict[str, str | None]:
    return {name: run.state_name for name, run in task_runs(client, state).items()}


def run_name(client: SyncPrefectClient, state: State[Any]) -> str:
    flow_run_id = state.state_details.flow_run_id
    assert flow_run_id is not None
    return str(client.read_flow_run(flow_run_id).name)


def test_results_come_home_as_a_branch_and_nothing_else_changes(
    project: DvcProject, client: SyncPrefectClient
) -> None:
    head = project.run("git", "rev-parse", "HEAD").strip()
    project.write("notes.txt", "the operator is writing")
    project.note("meet")  # each training waits until the other one runs too

    first = run(reason="the faces are new", max_parallel=2)
    assert first.is_completed(), first.message
    branch = f"training/{head[:12]}"
    assert first.message == (
        "vgg passed the quality gate and is not registered in emotion; 5 of 5 stages had changes; "
        f"results are the branch {branch}"
    )
    assert project.run("git", "status", "--porcelain") == "?? notes.txt\n"
    assert project.run("git", "rev-parse", "HEAD").strip() == head
    assert project.branches() == ["main", branch]
    assert json.loads(project.file(branch, "reports/gate.json"))["architecture"] == "vgg"
    assert sorted(project.executed()) == ["lenet", "vgg"]
    workspace = DvcProject(project.root / ".mien/workspaces" / head[:12])
    assert (workspace.root / "beside.txt").read_text() == ""  # nothing ran beside the stage that measures
    assert "up to date" in workspace.run("dvc", "status")

    assert run_name(client, first) == "training: own settings, because the faces are new"
    assert state_names(client, first) == dict.fromkeys(STAGES, "Completed")
    assert "## vgg passed the quality gate" in newest_artifact(client, "training-verdict")["data"]
    assert newest_artifact(client, "training-progress-vgg")["data"] == 100

    # Taken over by the operator, `dvc repro` finds nothing to do.
    project.run("git", "merge", "--quiet", branch)
    project.run("dvc", "checkout")
    assert "Running stage" not in project.run("dvc", "repro")

    again = run()
    assert (
        again.message == "vgg passed the quality gate and is not registered in emotion; nothing has changed"
    )
    assert state_names(client, again) == dict.fromkeys(STAGES, "unchanged")
    assert project.executed() == []
    assert run_name(client, again).endswith("somebody asked for it")


def test_only_stale_stages_run_also_behind_fresh_ones(project: DvcProject, client: SyncPrefectClient) -> None:
    first = run(architectures=["vgg"])
    assert first.is_completed(), first.message
    assert project.executed() == ["vgg"]
    assert "train@lenet" not in task_runs(client, first)

    # The branch was not merged, and the next commit touches one architecture.
    text = (project.root / "params.yaml").read_text()
    params = text.replace("learning_rate: 0.001", "learning_rate: 0.002", 1)
    project.write("params.yaml", params)
    project.write("README.md", "words")
    project.commit()
    second = run()
    assert second.is_completed(), second.message
    assert project.executed() == ["lenet"]
    names = state_names(client, second)
    assert (names["prepare"], names["train@vgg"], names["measure"]) == ("unchanged", "unchanged", "Completed")

    branches = project.branches()
    forced = run(architectures=["vgg"], force=True, results_to="workspace")
    assert forced.is_completed(), forced.message
    assert project.executed() == ["vgg"]
    assert project.branches() == branches


def test_failed_stage_takes_only_its_successors_with_it(
    project: DvcProject, client: SyncPrefectClient
) -> None:
    project.note("once-lenet", "error: sqlite:///mlflow.db: another process writes\n")
    project.note("fail-vgg", "error: loss is not a number; lower the rate\n")
    state = run()
    assert state.is_failed()
    assert state.message == (
        "FAILED at stage train@vgg: loss is not a number; lower the rate; "
        "not run because of it: measure, judge"
    )
    # Contention is tried again, a verdict is not.
    assert sorted(project.executed()) == ["lenet", "lenet", "vgg"]
    runs = task_runs(client, state)
    assert set(runs) == {"prepare", "train@lenet", "train@vgg"}
    assert (runs["train@lenet"].state_name, runs["train@lenet"].run_count) == ("Completed", 2)
    assert (runs["train@vgg"].state_name, runs["train@vgg"].run_count) == ("Failed", 1)
    # Half of the results are none; what is finished stays in the clone for the next run.
    assert project.branches() == ["main"]
    assert project.run("git", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"architectures": ["vgg19"]}, "architectures: got 'vgg19', expected names that `architectures` in"),
        ({"profile": "huge"}, "profile: got 'huge', expected one of fer2013, full, sample, tiny, or nothing"),
        ({"profile": "../conf/tiny"}, "profile: got '../conf/tiny', expected one of"),
        ({"revision": "nowhere"}, "revision: got 'nowhere', expected a branch, tag or commit"),
        ({"revision": "--upload-pack=x"}, "revision: got '--upload-pack=x', expected a branch"),
        ({"engine": "warp"}, "engine: got 'warp', expected one of "),
    ],
)
def test_invalid_parameter_is_reported(project: DvcProject, parameters: dict[str, Any], said: str) -> None:
    state = run(**parameters)
    assert state.is_failed()
    assert (state.message or "").startswith(said)
    assert project.run("git", "status", "--porcelain") == ""


def test_broken_settings_are_reported(project: DvcProject) -> None:
    project.write("params.yaml", "seed: [1")
    project.commit()
    assert "params.yaml: (file): got" in (run().message or "")
    project.write("params.yaml", (project.root / "conf/base.yaml").read_text() + "\nsede: 4\n")
    project.commit()
    assert "params.yaml: sede: got" in (run().message or "")


def test_folder_that_is_not_a_repository_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "this is not the root of a git repository" in (run().message or "")


def test_missing_data_are_reported(project: DvcProject) -> None:
    shutil.rmtree(project.root / ".dvc/cache")
    message = run().message or ""
    assert message.startswith(
        "the data of data.dvc: they are not in the cache and there is no remote; run `dvc pull"
    )
