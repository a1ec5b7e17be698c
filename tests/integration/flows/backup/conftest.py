"""What tests of backups share: one project with its archive, and a fresh clone of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.backups import Saved, save_project


@pytest.fixture(scope="package")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A project and its archive; not to be changed."""
    return save_project(tmp_path_factory.mktemp("first") / "project")


@pytest.fixture
def clone(saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone as the current folder."""
    root = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(saved.root), str(root)], check=True)
    monkeypatch.chdir(root)
    return root
