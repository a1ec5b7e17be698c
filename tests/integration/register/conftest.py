"""A finished pipeline as the current folder, with an empty MLflow store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.mlflow_store import new_store
from tests.support.registry_world import World, make_world


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """One model, `lenet`, that is always right."""
    monkeypatch.chdir(tmp_path)
    new_store(tmp_path)
    made = make_world(tmp_path)
    made.add_model("lenet")
    return made
