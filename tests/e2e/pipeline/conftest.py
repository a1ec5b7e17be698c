"""What end-to-end tests share: one copy of the product whose pipeline has run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.project import Project, copy_project

ARCHITECTURES = ["lenet", "vit"]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy with 7 × 24 faces and two small networks, its pipeline run once.

    Its first two commits are called Start (nothing has run) and Results; tests change what else is in it.
    """
    root = tmp_path_factory.mktemp("project")
    project = copy_project(Path(__file__).resolve().parents[3], root)
    project.run("python", "-m", "pipelines.profile", "tiny")
    project.edit_params(architectures=ARCHITECTURES)
    project.run("python", "-m", "sample_faces", "--per-class", "24", "--seed", "1", "--out", "data")
    project.run("dvc", "add", "data")
    project.commit("Start")
    first = project.run("dvc", "repro")
    assert project.ran(first.stdout)[:3] == ["prepare", "validate", "weights"]
    project.commit("Results")
    return project
