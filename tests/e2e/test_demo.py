"""`make demo`: the recorded model of the sample is registered and served, and nothing is trained."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import yaml

from pipelines.core.io import sha256_of
from pipelines.core.results import read_comparison
from pipelines.core.variants import architecture_of, variants_of
from pipelines.demo import recorded_files
from tests.support.debian import program
from tests.support.http_process import answers, free_port
from tests.support.http_service import until
from tests.support.project import Project, copy_project

PATIENCE_S = 300.0
"""First start of MLflow and the service on a busy machine."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """What a clone has, with the pictures."""
    project = copy_project(Path(__file__).resolve().parents[2], tmp_path_factory.mktemp("clone"), whole=True)
    project.run("git", "add", "--all")
    project.run("git", "add", "--force", ".dvc/sample")
    project.run("git", "commit", "--quiet", "--message", "Start")
    project.run("dvc", "pull", "--quiet", "data.dvc")
    return project


@contextmanager
def served(clone: Project, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A running `make demo`, as it stands in the Makefile without what installs the environment."""
    with (clone.root / "demo.log").open("wb") as log:
        process = subprocess.Popen(
            ["python", "-m", "pipelines.demo"],
            cwd=clone.root,
            env=clone.environment(MIEN_PORT=str(port), PYTHONUNBUFFERED="1"),
            stdout=log,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(PATIENCE_S)


def test_the_remote_holds_the_recorded_model_of_this_checkout(repository: Path) -> None:
    """After results are recorded again: `dvc push --remote sample`, and add the hashes to .dvc/sample.md5."""
    lock = yaml.safe_load((repository / "dvc.lock").read_text())
    hashes = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage.get("outs", ())}
    for path in recorded_files(read_comparison(repository).selected):
        digest = hashes[str(path)]
        assert (repository / ".dvc/sample/files/md5" / digest[:2] / digest[2:]).is_file(), path


def test_the_recorded_model_answers_and_says_that_nothing_was_trained(clone: Project) -> None:
    selected = read_comparison(clone.root).selected
    port = free_port()
    with (
        served(clone, port) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client,
    ):
        until(lambda: process.poll() is not None or answers(client), PATIENCE_S)
        model = client.get("/model").json()["live"]
        picture = clone.root / "data/happy/id0001_happy_00.jpg"
        answer = client.post("/detect", content=picture.read_bytes()).json()
    output = (clone.root / "demo.log").read_text()
    assert f"{selected}: restored from recorded results" in output
    export = json.loads((clone.root / f"onnx/{selected}/export.json").read_text())
    assert model["sha256"] == export["sha256"] == sha256_of(clone.root / f"onnx/{selected}/model.onnx")
    assert model["version"] == "1"
    assert "emotion version 2 (candidate)" in output
    assert answer["emotion"] == "happy"
    for name in ("train", "export", "evaluate"):
        assert f"Running stage '{name}" not in output
    # What `make run` finds afterwards: the network is trained.
    status = json.loads(clone.run("dvc", "status", "--json", f"train@{architecture_of(selected)}").stdout)
    assert not any(
        "changed outs" in change for changes in status.values() for change in changes if change is not None
    )


def test_the_readmes_ten_minutes(clone: Project) -> None:
    """The tour's commands, as a reader pastes them, without the line that activates the environment."""
    text = (clone.root / "README.md").read_text()
    [tour] = re.findall(r"<!-- tour -->\n```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    activate = "source .venv/bin/activate\n"
    assert activate in tour
    shown = re.findall(r"shortened:\n\n```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0].splitlines()
    port = free_port()
    commands = tour.replace(activate, "").replace(":8000", f":{port}")
    commands = commands.replace("/tmp", str(clone.root / ".mien"))  # noqa: S108 - as the README has it
    with (
        served(clone, port) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client,
    ):
        until(lambda: process.poll() is not None or answers(client), PATIENCE_S)
        assert client.get("/model").json()["live"]["version"] == "1"
        done = subprocess.run(
            [program("bash", package="bash"), "-e", "-c", commands],
            cwd=clone.root, env=clone.environment(), check=True, capture_output=True, text=True,
            timeout=PATIENCE_S,
        )  # fmt: skip
        live = client.get("/model").json()["live"]
    selected = read_comparison(clone.root).selected
    twin = next(name for name in variants_of(architecture_of(selected)) if name != selected)
    assert live["version"] == "2"
    assert live["sha256"] == sha256_of(clone.root / f"onnx/{twin}/model.onnx")
    feedback, drawn, drift, promoted, ready = done.stdout.splitlines()
    assert drawn.endswith(shown[1].removeprefix("/tmp"))  # noqa: S108 - as above
    assert (promoted, json.loads(ready)) == (shown[3], json.loads(shown[4]))
    assert drift.startswith('"verdict":"drift","reason":"brightness')
    assert json.loads(feedback).keys() == {"id", "face", "emotion", "predicted"}
    assert json.loads(feedback)["predicted"] == "happy"


def test_a_second_demo_serves_what_is_in_production(clone: Project) -> None:
    done = clone.run("python", "-m", "pipelines.demo", "--no-serve")
    assert "version 2 is in production already" in done.stdout
    assert "Running stage" not in done.stdout


def test_of_other_pictures_it_shows_nothing(clone: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "other")
    shutil.copytree(clone.root, other.root, ignore=shutil.ignore_patterns("sample", "prepared", "mlruns"))
    (other.root / "mlruns").mkdir()
    pointer = other.root / "data.dvc"
    values = yaml.safe_load(pointer.read_text())
    values["outs"][0]["md5"] = "0" * 32 + ".dir"
    pointer.write_text(yaml.safe_dump(values))
    done = other.run("python", "-m", "pipelines.demo", "--no-serve", check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "make run" in done.stderr
    assert not (other.root / "prepared").exists()
