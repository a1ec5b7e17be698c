"""What a cluster engine says before it reaches for anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cluster.backends import ClusterKind, cluster_connection, cluster_settings
from flows.errors import ClusterError, ParametersInvalid
from tests.support.dvc_project import new_project


def test_without_settings_nodes_are_this_machine_s(tmp_path: Path) -> None:
    settings = cluster_settings(tmp_path, {"MIEN_CLUSTER_ADDRESS": " "})
    assert (settings.address, settings.repository, settings.gpus) == (None, str(tmp_path), 0)


@pytest.mark.parametrize("gpus", ["some", "-1", "0.5"])
def test_a_number_of_gpus_that_is_none_is_refused(tmp_path: Path, gpus: str) -> None:
    with pytest.raises(ParametersInvalid, match=f"MIEN_CLUSTER_GPUS: got '{gpus}', expected a whole number"):
        cluster_settings(tmp_path, {"MIEN_CLUSTER_GPUS": gpus})


@pytest.mark.parametrize(("kind", "package"), [("ray", "ray"), ("dask", "prefect_dask.task_runners")])
def test_a_package_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: ClusterKind, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    said = rf"^engine {kind}: .* is not installed; run `make setup`.*'\.\[{kind}\]'`$"
    with pytest.raises(ClusterError, match=said):
        cluster_connection(kind, cluster_settings(tmp_path, {}), max_parallel=1)


def command(folder: Path, repository: Path, *arguments: str, **variables: str) -> list[str]:
    """Lines on standard error of a training that cannot start."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MLFLOW"))}
    done = subprocess.run(
        [sys.executable, "-m", "flows.training", *arguments],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(repository), "PREFECT_HOME": str(folder / "prefect")} | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_everything_that_a_cluster_needs_is_asked_for_at_once(tmp_path: Path, repository: Path) -> None:
    project = new_project(tmp_path / "project")
    said = command(project.root, repository, "--engine", "dask", MIEN_CLUSTER_GPUS="some")
    assert all(line.startswith("error: ") for line in said)
    assert [line.split()[1].strip(":") for line in said] == ["PREFECT_API_URL", "MIEN_CLUSTER_GPUS", "the"]
    assert "dvc remote add --default" in said[2]

    # All of it is there, and nothing answers; the remote is in no commit.
    project.run("dvc", "remote", "add", "--default", "shared", str(tmp_path / "remote"))
    said = command(
        project.root,
        repository,
        *("--engine", "dask"),
        PREFECT_API_URL="http://127.0.0.1:9/api",
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
        MIEN_CLUSTER_ADDRESS="tcp://127.0.0.1:9",
    )
    assert len(said) == 4
    assert "not in the committed .dvc/config" in said[0]
    assert [line.split("=")[0] for line in said[1:]] == [
        "error: PREFECT_API_URL", "error: MLFLOW_TRACKING_URI", "error: MIEN_CLUSTER_ADDRESS",
    ]  # fmt: skip
    assert not (project.root / ".mien").exists(), "nothing was started"


def test_a_prefect_server_that_does_not_start_in_time_is_one_line(tmp_path: Path, repository: Path) -> None:
    project = new_project(tmp_path / "project")
    variables = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "1", "PREFECT_LOGGING_LEVEL": "ERROR"}
    said = command(project.root, repository, **variables)
    errors = [line for line in said if line.startswith("error: ")]
    assert len(errors) == 1
    assert "PREFECT_API_URL" in errors[0]
    assert not [line for line in said if "Traceback" in line]
