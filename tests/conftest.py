"""What all tests share: markers by folder, and a clean environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.stage import quiet_libraries

quiet_libraries()

REPOSITORY = Path(__file__).resolve().parents[1]


# First, for pytest-xdist reads the groups in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder; of several processes one has a whole file, and all that share the pipeline's run."""
    for item in items:
        kind = item.path.relative_to(REPOSITORY / "tests").parts[0]
        if kind in {"unit", "integration", "e2e"}:
            item.add_marker(getattr(pytest.mark, kind))
        shares = kind == "e2e" and "project" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("project" if shares else str(item.path)))


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the developer's own reaches a test."""
    for name in list(os.environ):
        if name.startswith(("MIEN_", "MLFLOW_TRACKING", "DVC_EXP", "PREFECT_API")):
            monkeypatch.delenv(name)


@pytest.fixture
def repository() -> Path:
    """The checkout under test."""
    return REPOSITORY
