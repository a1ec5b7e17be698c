"""A real Prefect server for tests, on a free port and with an empty SQLite database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_HOME, PREFECT_LOGGING_LEVEL, temporary_settings
from prefect.testing.utilities import prefect_test_harness

# Twenty seconds on two idle cores.
START_S = 300


@contextmanager
def prefect_server(home: Path) -> Iterator[None]:
    """Flows of this process run against the server.

    Args:
        home: Prefect's folder; nothing is read from or written into the user's own.
    """
    with ExitStack() as stack:
        stack.enter_context(temporary_settings({PREFECT_HOME: home, PREFECT_LOGGING_LEVEL: "WARNING"}))
        stack.enter_context(prefect_test_harness(server_startup_timeout=START_S))
        yield


def runs_of(client: SyncPrefectClient, flow: str) -> list[FlowRun]:
    """All runs of a flow, the newest first."""
    return client.read_flow_runs(
        flow_filter=filters.FlowFilter(name=filters.FlowFilterName(any_=[flow])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=200,
    )


def newest_artifact(client: SyncPrefectClient, key: str) -> dict[str, Any]:
    """An artifact as the server has it."""
    # The client sends `null` for what it is not given, as the command line does: a FastAPI that refuses that
    # (from 0.151 on) would leave an operator without `prefect deployment ls`.
    wanted = filters.ArtifactCollectionFilter(key=filters.ArtifactCollectionFilterKey(any_=[key]))
    (found,) = client.read_latest_artifacts(artifact_filter=wanted)
    return found.model_dump()


@contextmanager
def deployed(flow: str, name: str) -> Iterator[SyncPrefectClient]:
    """A deployment that no worker looks at: what is started stays scheduled.

    Runs of its flow are deleted before and after: tests share the server, and others call the flow.
    """
    with get_client(sync_client=True) as client:
        _delete_runs(client, flow)
        client.create_deployment(client.create_flow_from_name(flow), name)
        try:
            yield client
        finally:
            _delete_runs(client, flow)
            client.delete_deployment(client.read_deployment_by_name(f"{flow}/{name}").id)


def _delete_runs(client: SyncPrefectClient, flow: str) -> None:
    for run in runs_of(client, flow):
        client.delete_flow_run(run.id)
