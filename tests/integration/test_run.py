"""What is printed after a run is what this run did: `python -m pipelines.run` with real git, DVC and MLflow.

Stages copy committed files in place of training; the registry is a real store.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.core.records import as_json
from tests.support.dvc_project import REPOSITORY, DvcProject, new_project
from tests.support.mlflow_store import new_store
from tests.support.results import check, comparison, verdict

STAGES = """
stages:
  train:
    foreach: ${architectures}
    do:
      cmd: sh train.sh ${item}
      deps: [train.sh]
      params: ["models.${item}"]
      outs: ["models/${item}.txt"]
  compare:
    cmd: mkdir -p reports && cp comparison.json reports/
    deps: [models, comparison.json]
    outs: [reports/comparison.json: {cache: false}]
  gate:
    cmd: cp gate.json reports/
    deps: [reports/comparison.json, gate.json]
    outs: [reports/gate.json: {cache: false}]
  register:
    cmd: python register.py
    always_changed: true
    deps: [reports/gate.json]
    outs: [registered.txt: {cache: false, persist: true}]
  report:
    cmd: echo report > reports/report.html
    deps: [reports/gate.json]
    outs: [reports/report.html: {cache: false}]
  verdict:
    cmd: python -m pipelines.verdict
    deps: [reports/gate.json, reports/report.html]
"""
TRAIN = """
if [ -e fail-$1 ]; then cat fail-$1 >&2; exit 1; fi
mkdir -p models; echo $1 > models/$1.txt
"""
REGISTER = """
import json
from pathlib import Path
from mlflow import MlflowClient
client = MlflowClient(tracking_uri="sqlite:///mlruns/mlflow.db")
gate = json.loads(Path("reports/gate.json").read_text())
tags = {"sha256": gate["sha256"]}
found = client.search_model_versions("name='emotion'")
if gate["passed"] and all(one.tags["sha256"] != tags["sha256"] for one in found):
    if not found:
        client.create_registered_model("emotion")
    made = client.create_model_version("emotion", Path.cwd().as_uri(), tags=tags)
    client.set_registered_model_alias("emotion", "candidate", made.version)
Path("registered.txt").write_text(gate["sha256"])
"""


def gate(sha256: str, *reasons: str) -> str:
    checks = [
        check(
            f"min_class_recall.{label}",
            passed=False,
            reason=f"recall of {label} is 0.100, but at least 0.3 is required",
            value=0.1,
            threshold=0.3,
        )
        for label in reasons
    ]
    return json.dumps(as_json(verdict(checks, sha256=sha256)))


@pytest.fixture
def project(tmp_path: Path) -> DvcProject:
    project = new_project(tmp_path / "project", stages=STAGES)
    project.write("train.sh", TRAIN)
    project.write("register.py", REGISTER)
    project.write("comparison.json", json.dumps(as_json(comparison("vgg"))))
    project.write("gate.json", gate("ab" * 32))
    project.write(".gitignore", "/data\n/mlruns\n/models\n.checkpoints/\n")
    project.commit()
    new_store(project.root)
    return project


def run(project: DvcProject, *arguments: str) -> tuple[int, list[str]]:
    """Exit status, and the lines that `make run` prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.run", *arguments],
        cwd=project.root, env=environment | {"PYTHONPATH": str(REPOSITORY), "DVC_NO_ANALYTICS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout, done.stdout
    return done.returncode, [line for line in done.stdout.splitlines() if line]


def said(lines: list[str], start: str) -> list[str]:
    return [line for line in lines if line.startswith(start)]


def test_a_run_says_what_it_did_and_what_the_registry_holds_now(project: DvcProject) -> None:
    status, lines = run(project)
    assert status == 0, lines
    assert said(lines, "Registered: ") == ["Registered: emotion version 1 (vgg; candidate)"]
    assert said(lines, "7 of 7 stages")

    # A person promotes, and nothing else changes.
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{project.root}/mlruns/mlflow.db")
    client.set_registered_model_alias("emotion", "production", "1")
    status, lines = run(project)
    assert status == 0
    assert not said(lines, "Registered: ")
    assert said(lines, "Already") == ["Already registered: emotion version 1 (vgg; candidate, production)"]
    assert said(lines, "Everything is up to date")


def test_a_failed_run_ends_with_the_stage_and_its_reason(project: DvcProject) -> None:
    assert run(project)[0] == 0
    commit = project.commit("Results")
    project.write("fail-vgg", "error: loss is not a number; lower the rate\n")
    project.write("train.sh", f"{TRAIN}# changed\n")
    status, lines = run(project)
    assert status != 0
    assert lines[-2] == "FAILED at stage train@vgg: loss is not a number; lower the rate"
    assert lines[-1].startswith("See: ")
    # The results of the run before still lie there.
    assert (project.root / "reports/gate.json").exists()
    assert not said(lines, "Test split")
    assert not [line for line in lines if "egistered" in line]
    assert not said(lines, "Next steps")
    assert [line for line in lines if "earlier run" in line and commit[:10] in line]
    assert not said(lines, "Report: ")
    assert said(lines, "Report of an earlier run: ")


def test_a_rejected_model_gets_a_remedy_for_each_reason(project: DvcProject) -> None:
    project.write("gate.json", gate("cd" * 32, "fear", "sad"))
    status, lines = run(project)
    assert status != 0
    assert lines[-2].startswith("FAILED at stage verdict: ")
    assert said(lines, "Test split")  # it is of this run
    assert said(lines, "Report: ")
    assert said(lines, "Not registered: ")
    advice = lines[lines.index("Next steps") :]
    for label in ("fear", "sad"):
        assert [line for line in advice if label in line and "gate.min_class_recall" in line]
    assert not said(advice, "  make serve")


def test_a_broken_dvc_yaml_fails_before_any_stage(project: DvcProject) -> None:
    project.write("dvc.yaml", "stages: [")
    status, lines = run(project)
    assert status != 0
    assert lines[-2].startswith("FAILED before the first stage: ")


MEETING = """
mkdir -p models; touch started-$1
for second in $(seq 120); do
  if [ "$(ls started-* | wc -l)" -ge 2 ]; then echo $1 > models/$1.txt; exit 0; fi
  sleep 0.5
done
echo "error: $1 was alone" >&2; exit 1
"""


def test_networks_without_results_run_at_the_same_time(project: DvcProject) -> None:
    project.write("train.sh", MEETING)
    status, lines = run(project, "--jobs", "2")
    assert status == 0, lines
    assert said(lines, "7 of 7 stages")
    assert said(lines, "Registered: ")
    status, lines = run(project, "--jobs", "2")
    assert status == 0
    assert said(lines, "Everything is up to date")


def test_a_network_that_fails_does_not_stop_the_others_and_ends_the_run(project: DvcProject) -> None:
    project.write("fail-lenet", "error: loss is not a number; lower the rate\n")
    status, lines = run(project, "--jobs", "2")
    assert status != 0
    assert lines[-2] == "FAILED at stage train@lenet: loss is not a number; lower the rate"
    assert (project.root / "models/vgg.txt").exists()
    assert not said(lines, "Running stage 'compare'")


def test_one_job_is_one_network_at_a_time(project: DvcProject) -> None:
    project.write("train.sh", MEETING.replace("120", "2"))
    status, lines = run(project, "--jobs", "1")
    assert status != 0
    assert [line for line in lines if line.endswith("was alone")]
