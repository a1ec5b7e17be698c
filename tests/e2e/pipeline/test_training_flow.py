"""The training flow gives what `dvc repro` gives: the real pipeline, with small data, both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.support.project import Project


def without_hashes_of_outputs(text: str) -> dict[str, Any]:
    """A dvc.lock less what depends on how training came out: hashes and sizes of what stages made."""
    lock: dict[str, Any] = yaml.safe_load(text)
    made = [out["path"] for stage in lock["stages"].values() for out in stage.get("outs", [])]
    for stage in lock["stages"].values():
        for entry in [*stage.get("outs", []), *stage.get("deps", [])]:
            if any(overlap(entry["path"], path) for path in made):
                for key in ("md5", "size", "nfiles"):
                    entry.pop(key, None)
    return lock


def overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def test_flow_gives_what_dvc_repro_gives(project: Project, tmp_path: Path) -> None:
    start, results = (
        project.run("git", "log", "--format=%H", f"--grep=^{subject}$").stdout.split()[-1]
        for subject in ("Start", "Results")
    )
    before = project.run("git", "status", "--porcelain").stdout
    # As the guide has it, without a server: Prefect brings its own for as long as it takes.
    ran = project.run(
        *("python", "-m", "flows.training", "--reason", "a test", "--revision", start),
        MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db",
        PREFECT_HOME=str(tmp_path / "prefect"),
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="600",
    )
    assert "Registered: emotion version 1" in ran.stdout
    assert project.run("git", "status", "--porcelain").stdout == before

    clone = Project(project.root / ".mien/workspaces" / start[:12])
    status = json.loads(clone.run("dvc", "status", "--json").stdout)
    assert status == {name: ["always changed"] for name in ("weights", "machine", "gate", "register")}

    branch = f"training/{start[:12]}"
    by_flow, by_repro = (
        project.run("git", "show", f"{commit}:dvc.lock").stdout for commit in (branch, results)
    )
    assert without_hashes_of_outputs(by_flow) == without_hashes_of_outputs(by_repro)
    assert files(project, branch) == files(project, results)


def files(project: Project, commit: str) -> list[str]:
    return project.run("git", "ls-tree", "-r", "--name-only", commit).stdout.splitlines()
