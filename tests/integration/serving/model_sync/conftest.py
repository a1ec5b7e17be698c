"""What tests of the poller share: a registry, and an environment that they may not change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mlflow_store import new_store
from tests.support.serving_models import FilledRegistry


@pytest.fixture(scope="module", autouse=True)
def _environment_of_mlflow() -> Iterator[None]:
    """What the poller sets for its own process does not stay in this one."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def registry(tmp_path: Path) -> FilledRegistry:
    """An empty store of MLflow and the folder of its artifacts."""
    return FilledRegistry(new_store(tmp_path), tmp_path / "artifacts")
