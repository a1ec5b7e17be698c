"""Prefect plans the runs of scheduled deployments ahead, on SQLite and PostgreSQL.

A server that cannot write them never starts a run, and only its log says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from tests.support.http_service import until
from tests.support.postgres import running_postgres
from tests.support.prefect_process import prefect_process

PATIENCE_S = 300.0


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'prefect.db'}"
    else:
        with running_postgres() as postgres:
            yield postgres.new_database()


def test_runs_of_a_schedule_are_planned_at_its_times(database_url: str, tmp_path: Path) -> None:
    home = tmp_path / "prefect"
    every_hour = DeploymentScheduleCreate(schedule=CronSchedule(cron="7 * * * *", timezone="UTC"))
    scheduled = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    )
    with (
        prefect_process(home, database_url) as api,
        temporary_settings({PREFECT_API_URL: api, PREFECT_HOME: home}),
        get_client(sync_client=True) as client,
    ):
        flow = client.create_flow_from_name("drift")
        deployment = client.create_deployment(flow, "hourly", schedules=[every_hour])

        def planned() -> list[FlowRun]:
            return client.read_flow_runs(flow_run_filter=scheduled)

        until(lambda: len(planned()) >= 3, PATIENCE_S)
        runs = planned()
    times = sorted(run.expected_start_time for run in runs if run.expected_start_time is not None)
    assert len(times) == len(runs)
    assert {run.deployment_id for run in runs} == {deployment}
    assert {(time.minute, time.second) for time in times} == {(7, 0)}
    assert {(later - earlier).total_seconds() for earlier, later in itertools.pairwise(times)} == {3600.0}
