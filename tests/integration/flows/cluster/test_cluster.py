"""The training flow over Dask's nodes: real processes that share git, a DVC remote and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State

from flows.repro import tasks
from flows.training.flow import training
from tests.support.buckets import bucket_server
from tests.support.dask_cluster import DaskCluster, dask_cluster
from tests.support.dvc_project import DvcProject, new_project

pytestmark = pytest.mark.usefixtures("prefect_api")

STAGES = """
stages:
  prepare:
    cmd: sh stage.sh prepare prepared/faces.txt
    deps: [data, stage.sh]
    outs: [prepared]
  train:
    foreach: ${architectures}
    do:
      cmd: sh stage.sh train@${item} models/${item}/weights.txt models/${item}/record.txt
      deps: [prepared/faces.txt, stage.sh]
      params: ["models.${item}"]
      outs:
      - models/${item}/weights.txt
      - models/${item}/record.txt:
          cache: false
  export:
    foreach: ${architectures}
    do:
      cmd: sh stage.sh export@${item} onnx/${item}.txt < models/${item}/record.txt
      deps: [stage.sh, "models/${item}"]
      outs: ["onnx/${item}.txt"]
  time:
    foreach: ${architectures}
    do:
      cmd: sh stage.sh time@${item} times/${item}.txt < onnx/${item}.txt
      meta: {node: coordinator}
      deps: [stage.sh, "onnx/${item}.txt"]
      outs: ["times/${item}.txt"]
  judge:
    cmd: sh stage.sh judge reports/judged.txt && cat onnx/*.txt && cp gate.json reports/gate.json
    deps: [onnx, gate.json, stage.sh]
    outs:
    - reports/judged.txt
    - reports/gate.json:
        cache: false
"""

# What ran, and where, is written outside of every clone. With `meet`, a training waits for the other one.
STAGE = """
set -e
stage=$1; shift
echo "$stage $PWD" >> LOG
if [ -e meet ]; then
  case $stage in
    train@*) for i in $(seq 1200); do [ $(grep -c ^train@ LOG) -ge 2 ] && break; sleep 0.1; done;;
  esac
fi
# A machine that loses its power: the worker that started this stage, once.
case $stage in
  train@*)
    if [ -e outage ] && mkdir LOG.outage 2> /dev/null; then kill -9 $(cat "$WORKER_PID"); sleep 60; fi;;
esac
for out; do mkdir -p $(dirname $out); echo "$stage $out" > $out; done
"""

BUCKET = {
    "endpointurl": "AWS_ENDPOINT_URL",
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "region": "AWS_DEFAULT_REGION",
}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path / "dask") as running:
        monkeypatch.setenv("MIEN_CLUSTER_ADDRESS", running.address)
        yield running


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DvcProject:
    project = new_project(tmp_path / "project", stages=STAGES)
    project.write("stage.sh", STAGE.replace("LOG", str(tmp_path / "log")))
    monkeypatch.chdir(project.root)
    monkeypatch.setattr(tasks.run_stage, "retry_delay_seconds", [0.1])
    # No stage here asks for it; a file would be refused.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    return project


def run(**parameters: Any) -> State[Any]:
    state: State[Any] = training(**parameters, engine="dask", return_state=True)
    return state


def ran(tmp_path: Path) -> list[tuple[str, str]]:
    """Stages and the folders they ran in, in order."""
    lines = [line.split(maxsplit=1) for line in (tmp_path / "log").read_text().splitlines()]
    return [(stage, folder) for stage, folder in lines]


def the_clone(project: DvcProject) -> DvcProject:
    (clone,) = (project.root / ".mien" / "workspaces").iterdir()
    return DvcProject(clone)


def test_every_stage_runs_once_and_its_results_come_home_through_a_bucket(
    project: DvcProject, cluster: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("meet", "")
    with bucket_server(monkeypatch) as client:
        client.create_bucket(Bucket="shared")
        project.run("dvc", "remote", "add", "--default", "shared", "s3://shared/dvc")
        # The nodes were started without these: keys and address travel with the remote's settings.
        for name, value in BUCKET.items():
            project.run("dvc", "remote", "modify", "--local", "shared", name, os.environ[value])
        project.commit("Remote")

        state = run(max_parallel=2)
        assert state.is_completed(), state.message
        where = ran(tmp_path)
        assert sorted(stage for stage, _ in where) == [
            "export@lenet", "export@vgg", "judge", "prepare",
            "time@lenet", "time@vgg", "train@lenet", "train@vgg",
        ]  # fmt: skip
        clone = the_clone(project)
        folders = dict(where)
        # What is measured is measured on one machine, however many there are.
        at_home = ("prepare", "judge", "time@lenet", "time@vgg")
        assert {folders[stage] for stage in at_home} == {str(clone.root)}
        nodes = {node for node in cluster.nodes for name in ("lenet", "vgg")
                 if str(node.folder) in folders[f"train@{name}"]}  # fmt: skip
        assert len(nodes) == 2
        assert "Running stage" not in clone.run("dvc", "repro")
        assert clone.run("dvc", "status") == "Data and pipelines are up to date.\n"
        assert (clone.root / "models/vgg/record.txt").read_text() == "train@vgg models/vgg/record.txt\n"
        assert project.run("git", "for-each-ref", "refs/mien") == ""
        assert len(ran(tmp_path)) == 8


def test_a_node_that_dies_in_the_middle_of_a_stage_is_replaced_by_another(
    project: DvcProject, cluster: DaskCluster, tmp_path: Path
) -> None:
    project.write("outage", "")
    project.run("dvc", "remote", "add", "--default", "shared", str(tmp_path / "remote"))
    project.commit("Remote")

    state = run(architectures=["vgg"], max_parallel=2)
    trainings = [folder for stage, folder in ran(tmp_path) if stage == "train@vgg"]
    assert len(trainings) == 2, state.message
    assert [any(str(node.folder) in folder for folder in trainings) for node in cluster.nodes] == [True, True]
    assert sum(node.process.poll() is not None for node in cluster.nodes) == 1
    assert (the_clone(project).root / "models/vgg/weights.txt").exists()


def test_without_a_remote_nothing_is_started(project: DvcProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_CLUSTER_ADDRESS", "tcp://127.0.0.1:9")
    state = run()
    assert state.is_failed()
    assert "the nodes' DVC remote: this repository has no default remote" in str(state.message)
