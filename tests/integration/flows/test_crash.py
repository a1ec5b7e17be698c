"""A killed training run: its stages end, it counts as crashed, and the next one goes on where it was.

Prefect's state is in PostgreSQL here, and its server is a process as an operator runs it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions, State
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.states import Pending

from flows.dev_stack.deployments import TAG, crash_automation
from flows.dev_stack.services import HEARTBEAT_S
from tests.support.dvc_project import REPOSITORY, DvcProject, new_project
from tests.support.postgres import running_postgres
from tests.support.prefect_process import prefect_process
from tests.support.processes import command_of

PATIENCE_S = 900.0
# Shorter than the thirty seconds between two heartbeats: the run is silent, whether its process lives or not.
SILENCE = timedelta(seconds=20)
# In the command lines of a stage: of its guard, of DVC, and of its own program.
STAGE_PROGRAMS = ("dvc_program.py", "train.sh")


@pytest.fixture
def project(tmp_path: Path) -> DvcProject:
    return new_project(tmp_path / "project")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[SyncPrefectClient]:
    home = tmp_path / "prefect"
    with (
        running_postgres() as postgres,
        prefect_process(home, postgres.new_database()) as api,
        temporary_settings({PREFECT_API_URL: api, PREFECT_HOME: home}),
        get_client(sync_client=True) as client,
    ):
        client.create_automation(crash_automation(SILENCE))
        yield client


@pytest.fixture
def deployment(project: DvcProject, client: SyncPrefectClient) -> UUID:
    """The training deployment as prefect.yaml has it, without schedule and pool."""
    directory = {"prefect.deployments.steps.set_working_directory": {"directory": str(project.root)}}
    return client.create_deployment(
        client.create_flow_from_name("training"),
        "crash",
        entrypoint=f"{REPOSITORY}/flows/training/flow.py:training",
        pull_steps=[directory],
        tags=[TAG],
        concurrency_limit=1,
        concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
    )


def start(client: SyncPrefectClient, deployment: UUID, **parameters: object) -> UUID:
    return client.create_flow_run_from_deployment(deployment, parameters=parameters).id


@contextmanager
def executed(client: SyncPrefectClient, run: UUID) -> Iterator[subprocess.Popen[bytes]]:
    """What a worker does with a run: it takes its place, and lets a process of its own execute it."""
    client.set_flow_run_state(run, Pending())
    variables = {
        "PREFECT_API_URL": PREFECT_API_URL.value() or "",
        "PREFECT_HOME": str(PREFECT_HOME.value()),
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [sys.executable, "-m", "prefect", "flow-run", "execute", str(run)]
    with subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                kill(process)


def state(client: SyncPrefectClient, run: UUID) -> State:
    found = client.read_flow_run(run).state
    assert found is not None
    return found


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"not true within {PATIENCE_S:g} s"
        time.sleep(0.2)


def kill(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Kill a run with SIGKILL, all but its stages; returns these."""
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    of_stage = [one for one in tree if any(Path(word).name in STAGE_PROGRAMS for word in command_of(one))]
    for one in tree:
        if one not in of_stage:
            # What Prefect starts for a moment may be gone by now.
            with suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
    process.wait()
    return of_stage


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_next_run_starts_in_spite_of_a_killed_one_and_goes_on_where_it_was(
    project: DvcProject, client: SyncPrefectClient, deployment: UUID
) -> None:
    hold = project.note("hold-vgg")
    first = start(client, deployment, architectures=["vgg"])
    with executed(client, first) as process:
        until(lambda: state(client, first).is_running())
        # Meanwhile there is no place for another one, and it does not wait for one.
        second = start(client, deployment)
        client.set_flow_run_state(second, Pending())
        assert state(client, second).is_cancelled()

        until(lambda: project.executed() == ["vgg"])
        stages = kill(process)
    assert stages
    until(lambda: not any(lives(one) for one in stages))

    until(lambda: state(client, first).is_crashed())
    assert "no heartbeat for 20 s" in (state(client, first).message or "")

    hold.unlink()
    project.note("meet")  # each training waits until the other one runs too
    third = start(client, deployment, reason="the first was killed")
    with executed(client, third) as process:
        assert process.wait(PATIENCE_S) == 0
    ended = state(client, third)
    assert ended.is_completed(), ended.message
    assert sorted(project.executed()) == ["lenet", "vgg"]
    assert (project.root / ".mien/resumed").read_text().split() == ["vgg"]
    # `prepare` had been finished and was not run again.
    assert "4 of 5 stages had changes" in (ended.message or "")
