"""`make train` says how its run ended: `python -m flows.start` against a real Prefect server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Completed, Failed, Running

from tests.support.prefect_server import deployed, runs_of

pytestmark = pytest.mark.usefixtures("prefect_api")
LONGEST_S = 300.0


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with deployed("training", "training") as client:
        yield client


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (Completed(message="Registered: emotion version 2 (vgg; candidate); 9 of 41 stages"), 0),
        (Failed(message="FAILED at stage train@vgg: loss is not a number; lower the rate"), 1),
        (Cancelled(message="another training is running"), 1),
    ],
    ids=["completed", "failed", "cancelled"],
)
def test_it_ends_as_the_run_does(client: SyncPrefectClient, ending: State[object], status: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.start", "--reason", "a test"],
        env=os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value())},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    with process:
        deadline = time.monotonic() + LONGEST_S
        while not (runs := runs_of(client, "training")):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.stdout and process.stdout.read()
            time.sleep(0.2)
        [run] = runs
        assert run.parameters == {"reason": "a test"}
        client.set_flow_run_state(run.id, Running(), force=True)
        client.set_flow_run_state(run.id, ending, force=True)
        said, _ = process.communicate(timeout=LONGEST_S)
    assert process.returncode == status
    assert ending.message is not None
    [last] = [line for line in said.splitlines() if ending.message in line]
    assert status == 0 or last.startswith(("FAILED", "CANCELLED"))
    assert str(run.id) in said  # where to read on


@pytest.mark.parametrize(
    "variables",
    [{"PREFECT_API_URL": "http://127.0.0.1:1/api"}, {"HOST": "127.0.0.1", "PREFECT_PORT": "1"}],
    ids=["of Prefect", "of make up"],
)
def test_a_server_that_is_not_there_is_one_line(variables: dict[str, str], tmp_path: Path) -> None:
    """With no address in Prefect's own settings the one of `make up` is used, and no server is started."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    own = {"PREFECT_HOME": str(tmp_path), "PREFECT_CLIENT_MAX_RETRIES": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "flows.start"],
        env=kept | own | variables,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert "http://127.0.0.1:1/api" in done.stderr
    assert not list(tmp_path.glob("*.db"))
