"""Clones of training runs, on real git repositories: who gets which, what comes home, who waits for whom."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows import guard
from flows.errors import TrainingBusy
from flows.repro import data, reuse
from flows.repro.reuse import reuse_results
from flows.repro.workspace import Workspace, open_workspace, tracking_uri, training_lock, uncommitted
from tests.support.dvc_project import DvcProject, new_project

LOCK = -1  # nothing that runs here inherits it


@pytest.fixture
def project(tmp_path: Path) -> DvcProject:
    return new_project(tmp_path / "project")


def opened(project: DvcProject, revision: str = "HEAD", profile: str | None = None) -> Workspace:
    return open_workspace(project.root, revision=revision, profile=profile, lock=LOCK)


def write(workspace: Workspace, name: str, text: str) -> None:
    DvcProject(workspace.root).write(name, text)


def test_clone_is_of_the_commit_also_in_a_dirty_checkout(project: DvcProject) -> None:
    project.write("params.yaml", "seed: 9")
    workspace = opened(project)
    assert workspace.root.parent == project.root / ".mien/workspaces"
    assert "architectures" in (workspace.root / "params.yaml").read_text()
    assert uncommitted(project.root) == ["params.yaml"]
    assert workspace.git("status", "--porcelain").output == ""
    assert project.run("git", "status", "--porcelain") == " M params.yaml\n"


def test_run_that_was_cut_off_is_continued_in_its_clone(project: DvcProject) -> None:
    first = opened(project)
    write(first, "dvc.lock", "half of it")
    (first.root / ".git/index.lock").touch()  # git was killed
    again = opened(project)
    assert again.root == first.root
    assert (again.root / "dvc.lock").read_text() == "half of it"
    assert reuse.commit(again, "Results") == again.branch


def test_clone_that_was_deleted_begins_with_what_came_home(project: DvcProject) -> None:
    first = opened(project)
    write(first, "dvc.lock", "results")
    branch = reuse.commit(first, "Results")
    subprocess.run(["rm", "-rf", first.root], check=True)
    again = opened(project)
    assert (again.root / "dvc.lock").read_text() == "results"
    # And goes on from there: one line of commits, nothing is overwritten.
    write(again, "dvc.lock", "more results")
    assert reuse.commit(again, "More") == branch
    assert project.run("git", "log", "--format=%s", branch or "").splitlines() == ["More", "Results", "Start"]


def test_without_changes_there_is_no_commit(project: DvcProject) -> None:
    assert reuse.commit(opened(project), "Results") is None
    assert project.branches() == ["main"]


def test_half_of_the_results_is_not_whole(project: DvcProject) -> None:
    project.write("reports/gate.json", "{}")
    project.commit()
    workspace = opened(project)
    assert reuse.is_complete(workspace)
    (workspace.root / "reports/gate.json").unlink()  # as dvc does before a stage that then fails
    assert not reuse.is_complete(workspace)


def test_profile_is_a_commit_that_exists_before_anything_is_trained(project: DvcProject) -> None:
    workspace = opened(project, profile="tiny")
    reuse.use_profile(workspace, "tiny", publish=True)
    assert project.branches() == ["main", f"{workspace.branch}"]
    assert workspace.branch.endswith("-tiny")
    assert "image_size_px: 32" in project.file(workspace.branch, "params.yaml")
    head = workspace.git("rev-parse", "HEAD").output.strip()
    assert project.run("git", "rev-parse", workspace.branch).strip() == head
    reuse.use_profile(workspace, "tiny", publish=True)
    assert workspace.git("rev-parse", "HEAD").output.strip() == head


def test_new_commit_adopts_the_results_before_it(project: DvcProject) -> None:
    before = opened(project)
    write(before, "dvc.lock", "results")
    write(before, "models/vgg/training.json", "{}")
    write(before, "params.yaml", "seed: 9")  # not a result
    project.write("README.md", "words")
    project.commit()
    workspace = opened(project)
    assert reuse_results(workspace) == before.root
    assert (workspace.root / "dvc.lock").read_text() == "results"
    assert (workspace.root / "models/vgg/training.json").read_text() == "{}"
    assert "architectures" in (workspace.root / "params.yaml").read_text()
    assert reuse_results(workspace) is None  # it has its own now


def test_commit_with_newer_results_keeps_them(project: DvcProject) -> None:
    before = opened(project)
    write(before, "dvc.lock", "older")
    project.write("dvc.lock", "the operator's own")
    project.commit()
    workspace = opened(project)
    assert reuse_results(workspace) is None
    assert (workspace.root / "dvc.lock").read_text() == "the operator's own"


def test_clone_shares_cache_and_local_settings(project: DvcProject) -> None:
    project.write(".dvc/config.local", "['remote \"store\"']\n    url = ../../store\n")
    workspace = opened(project)
    data.configure(workspace)
    data.configure(workspace)
    shown = DvcProject(workspace.root)
    assert shown.run("dvc", "cache", "dir").strip() == str(project.root / ".dvc/cache")
    name, url = shown.run("dvc", "remote", "list").split()[:2]
    assert (name, (shown.root / url).resolve()) == ("store", (project.root / "../store").resolve())
    assert project.run("git", "status", "--porcelain") == ""


def test_training_state_outlives_the_clone(project: DvcProject) -> None:
    workspace = opened(project)
    write(workspace, ".checkpoints/vgg/state", "epoch 3")
    assert (project.root / ".mien/checkpoints/vgg/state").read_text() == "epoch 3"
    assert workspace.git("status", "--porcelain").output == ""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "sqlite:///{root}/mlruns/mlflow.db"),
        ("sqlite:///elsewhere/mlflow.db", "sqlite:///{root}/elsewhere/mlflow.db"),
        ("sqlite:////var/mlflow.db", "sqlite:////var/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_clone_logs_where_the_checkout_would(given: str, expected: str, tmp_path: Path) -> None:
    variables = {"MLFLOW_TRACKING_URI": given} if given else {}
    assert tracking_uri(tmp_path, variables) == expected.format(root=tmp_path)


def test_one_training_at_a_time(tmp_path: Path) -> None:
    with training_lock(tmp_path):
        with pytest.raises(TrainingBusy) as caught, training_lock(tmp_path, timeout_s=0):
            pass
        assert str(tmp_path) in str(caught.value)
    with training_lock(tmp_path, timeout_s=0):
        pass


def test_stage_of_a_killed_run_keeps_the_next_one_waiting(tmp_path: Path) -> None:
    code = "import sys, time; print('on', flush=True); time.sleep(600)"
    with training_lock(tmp_path) as lock:
        command = guard.command([sys.executable, "-c", code], owner=os.getpid(), grace_s=1)
        stage = subprocess.Popen(command, pass_fds=[lock], stdout=subprocess.PIPE)
        assert stage.stdout is not None
        assert stage.stdout.readline() == b"on\n"
    # The run is gone, its stage is not.
    with pytest.raises(TrainingBusy), training_lock(tmp_path, timeout_s=0):
        pass
    stage.terminate()
    started = time.monotonic()
    with training_lock(tmp_path, timeout_s=60):
        assert time.monotonic() - started < 60
    stage.communicate()


def test_a_copied_checkout_s_clones_lead_to_the_copy(project: DvcProject, tmp_path: Path) -> None:
    opened(project)
    copy = DvcProject(tmp_path / "copy of it")
    shutil.copytree(project.root, copy.root, symlinks=True)
    workspace = opened(copy)
    assert workspace.root.is_relative_to(copy.root)
    assert workspace.git("remote", "get-url", "origin").output.strip() == str(copy.root)
    write(workspace, "dvc.lock", "results")
    assert reuse.commit(workspace, "Results") in copy.branches()
    assert project.branches() == ["main"], "nothing is pushed into the original"
    assert (workspace.root / ".checkpoints").resolve().is_relative_to(copy.root)
