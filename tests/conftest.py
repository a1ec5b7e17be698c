"""What all tests share: markers by folder, and a clean environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from pipelines.core.cli import quiet_libraries, use_onednn

quiet_libraries()
use_onednn()
# How long an example takes on a busy machine says nothing about the code.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

# `make check` runs two parts at the same time; a `make` that a test starts is not one of its jobs.
for _name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
    os.environ.pop(_name, None)

REPOSITORY = Path(__file__).resolve().parents[1]
_PIPELINE = "tests/e2e/pipeline/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        kind = item.path.relative_to(REPOSITORY / "tests").parts[0]
        if kind in {"unit", "integration", "e2e"}:
            item.add_marker(getattr(pytest.mark, kind))


class _ByCostlyFixture(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist has no types
    """Of several processes one has a whole file, and all that looks at the one run of the pipeline."""

    def _split_scope(self, nodeid: str) -> str:
        return _PIPELINE if nodeid.startswith(_PIPELINE) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    # Not --dist loadgroup: with pytest 9.2 pytest-xdist 3.8 no longer sees the groups.
    return _ByCostlyFixture(config, log)


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
