"""What the flows' tests share: one Prefect server for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.prefect_server import prefect_server


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Flows run against a real server."""
    with prefect_server(tmp_path_factory.mktemp("prefect")):
        yield
