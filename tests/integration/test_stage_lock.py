"""A stage that a killed `dvc repro` left running is not started a second time beside itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 120.0
STAGE = """
import os, time
from pathlib import Path
from pipelines.core.cli import run_stage

def main():
    with Path("started").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    while not Path("go").exists():
        time.sleep(0.02)
    Path("result").write_text("done")

run_stage(main)
"""
PIPELINE = f"""
stages:
  slow:
    cmd: {sys.executable} stage.py
    deps: [stage.py]
    outs: [result]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    dvc(tmp_path, "init", "--no-scm", "-q").communicate()
    return tmp_path


def dvc(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    environment |= {"PYTHONPATH": str(REPOSITORY), "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def started(folder: Path) -> list[int]:
    """Process ids of the stages that have begun."""
    path = folder / "started"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_the_next_repro_names_the_process_and_runs_once_it_has_ended(project: Path) -> None:
    first = dvc(project, "repro")
    deadline = time.monotonic() + PATIENCE_S
    while not started(project):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.kill()
    first.wait()
    # Its stage still holds the other end.
    assert first.stdout is not None
    first.stdout.close()
    (left,) = started(project)
    try:
        assert psutil.pid_exists(left)
        second = dvc(project, "repro")
        said = second.communicate(timeout=PATIENCE_S)[0]
        assert second.returncode != 0
        assert f"slow is already running as process {left} " in said
        assert started(project) == [left]
    finally:
        psutil.Process(left).kill()
    (project / "go").touch()
    third = dvc(project, "repro")
    said = third.communicate(timeout=PATIENCE_S)[0]
    assert third.returncode == 0, said
    assert (project / "result").read_text() == "done"
    assert len(started(project)) == 2
