"""`python -m pipelines.prepare` as a process: what it prints, and what it leaves behind when it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipelines.core.manifest import read_manifest
from tests.support.pictures import textured, write_picture

COMMAND = [sys.executable, "-m", "pipelines.prepare"]


@pytest.fixture
def project(tmp_path: Path, repository: Path) -> Path:
    shutil.copy(repository / "params.yaml", tmp_path)
    return tmp_path


def environment(repository: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(repository), "PYTHONDONTWRITEBYTECODE": "1"}


def fill(project: Path, *, people: int, side: int = 64) -> None:
    for index, label in enumerate(("happy", "sad")):
        for person in range(people):
            picture = textured(1000 * index + person, width=side, height=side)
            write_picture(project / f"data/{label}/id{person}_a.png", picture)


def test_the_stage_writes_its_outputs_and_says_what_it_did(project: Path, repository: Path) -> None:
    fill(project, people=40)
    done = subprocess.run(COMMAND, cwd=project, env=environment(repository), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("80 of 80 images kept\n")
    assert "details in reports/prepare.json" in done.stdout
    assert {path.name for path in project.iterdir()} == {"data", "params.yaml", "prepared", "reports"}
    assert read_manifest(project / "prepared/manifest.parquet")["source"][0].startswith("data/")


def test_an_error_is_one_line_and_exit_status_one(project: Path, repository: Path) -> None:
    done = subprocess.run(COMMAND, cwd=project, env=environment(repository), capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: data: no images found, expected data/<class>/*")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert [path.name for path in project.iterdir()] == ["params.yaml"]


def test_a_disk_that_takes_no_more_leaves_nothing_half_written(project: Path, repository: Path) -> None:
    fill(project, people=300)
    # A limit of 1 KiB per file fails a write in a worker process as a full disk does.
    limited = ["bash", "-c", 'ulimit -f 1 && exec "$@"', "bash", *COMMAND]
    done = subprocess.run(limited, cwd=project, env=environment(repository), capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: prepared: cannot be written (File too large), ")
    assert done.stderr.count("\n") == 1
    assert {path.name for path in project.iterdir()} == {"data", "params.yaml"}


def test_a_killed_run_leaves_no_process_and_the_next_one_succeeds(project: Path, repository: Path) -> None:
    fill(project, people=300, side=200)
    process = subprocess.Popen(COMMAND, cwd=project, env=environment(repository))
    deadline = time.monotonic() + 60
    while not any(project.glob(".prepared.*/images/*/*/*.png")) and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert workers
    assert not alive
    assert not (project / "prepared").exists()
    done = subprocess.run(COMMAND, cwd=project, env=environment(repository), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(read_manifest(project / "prepared/manifest.parquet")) == 600
