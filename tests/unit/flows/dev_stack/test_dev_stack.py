"""`make up`'s settings, its ports, and prefect.yaml."""

from __future__ import annotations

import logging
import shlex
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.exceptions import FailedRun

from flows.dev_stack.deployments import TAG, deployable
from flows.dev_stack.services import HEARTBEAT_S, POOL, Stack, check_ports, read_stack
from flows.errors import PortTaken, StackError
from flows.training.flow import failed
from serving.settings import unknown_variables


@pytest.fixture(scope="module")
def prefect_yaml() -> dict[str, Any]:
    path = Path(__file__).resolve().parents[4] / "prefect.yaml"
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def stack_on(ports: list[int], root: Path) -> Stack:
    """Its ports in the order MLflow, Prefect, service."""
    mlflow, prefect, service = ports
    given = {"MLFLOW_PORT": str(mlflow), "PREFECT_PORT": str(prefect), "MIEN_PORT": str(service)}
    return read_stack(given, root)


def test_without_settings_everything_is_local_and_where_the_guides_say(tmp_path: Path) -> None:
    stack = read_stack({}, tmp_path)
    assert stack.mlflow == "http://127.0.0.1:5000"
    assert stack.prefect == "http://127.0.0.1:4200"
    assert stack.service == "http://127.0.0.1:8000"


@pytest.mark.parametrize("given", ["", "http", "0", "65536", "-1"])
def test_invalid_port_is_reported(given: str, tmp_path: Path) -> None:
    if not given:
        assert read_stack({"PREFECT_PORT": given}, tmp_path).prefect_port == 4200
        return
    with pytest.raises(StackError, match=f"PREFECT_PORT: got '{given}', expected a port from 1 to 65535"):
        read_stack({"PREFECT_PORT": given}, tmp_path)


@pytest.mark.parametrize(
    ("position", "service", "variable"),
    [(0, "MLflow", "MLFLOW_PORT"), (1, "Prefect", "PREFECT_PORT"), (2, "the service", "MIEN_PORT")],
)
def test_taken_port_is_reported_with_the_setting_that_chooses_another(
    position: int, service: str, variable: str, tmp_path: Path
) -> None:
    ports = free_ports(3)
    check_ports(stack_on(ports, tmp_path))
    with socket.create_server(("127.0.0.1", ports[position])), pytest.raises(PortTaken) as caught:
        check_ports(stack_on(ports, tmp_path))
    assert str(caught.value).startswith(
        f"port {ports[position]} on 127.0.0.1, which {service} needs, is in use; "
        f"choose another one: `make up {variable}="
    )


def test_one_port_for_two_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="two services have the same port"):
        check_ports(stack_on([5000, 5000, 8000], tmp_path))


def test_address_of_another_machine_is_reported(tmp_path: Path) -> None:
    # 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
    with pytest.raises(StackError, match="is not an address of this machine"):
        check_ports(read_stack({"HOST": "192.0.2.1"}, tmp_path))


def test_all_state_is_kept_in_the_checkout_without_telemetry(tmp_path: Path) -> None:
    stack = read_stack({}, tmp_path)
    variables = stack.environment({"HOME": "/home/me"})
    assert variables["PREFECT_HOME"] == str(tmp_path / ".mien/prefect")
    assert variables["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert variables["DO_NOT_TRACK"] == "1"
    assert variables["MLFLOW_TRACKING_URI"] == stack.mlflow
    # The service would complain of each at its start.
    assert unknown_variables(variables) == []


def test_every_process_is_guarded_by_the_process_that_started_the_stack(tmp_path: Path) -> None:
    for command in read_stack({}, tmp_path).commands(owner=4711).values():
        words = shlex.split(command)
        assert words[2].endswith("flows/guard.py")
        assert words[words.index("--owner") + 1] == "4711"


def test_deployments_run_once_at_a_time_and_do_not_queue(prefect_yaml: dict[str, Any]) -> None:
    assert [entry["name"] for entry in prefect_yaml["deployments"]][:3] == ["training", "drift", "retention"]
    for entry in prefect_yaml["deployments"]:
        assert entry["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
        assert entry["work_pool"]["name"] == POOL
        assert TAG in entry["tags"]


def test_deployed_runs_give_signs_of_life_as_often_as_the_automation_expects(
    prefect_yaml: dict[str, Any],
) -> None:
    for entry in prefect_yaml["deployments"]:
        variables = entry["work_pool"]["job_variables"]["env"]
        assert variables["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == str(HEARTBEAT_S)


def test_only_flows_that_are_there_are_deployed(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text((repository / "prefect.yaml").read_text())
    (tmp_path / "flows/training").mkdir(parents=True)
    (tmp_path / "flows/training/flow.py").touch()
    assert deployable(tmp_path) == ["training"]
    assert {"training", "drift", "retention"} <= set(deployable(repository))


def test_failed_run_leaves_the_engine_s_own_traceback_out(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("prefect.flow_runs")
    try:
        assert failed("no such profile").message == "no such profile"
        logger.propagate = True
        for error in (FailedRun("no such profile"), ValueError("a bug")):
            try:
                raise error
            except Exception:
                # Prefect's own handler, which is there once a flow was imported, would ask for a run.
                logger.exception("exited with unexpected exception", extra={"send_to_api": False})
        assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ValueError]
    finally:
        for one in list(logger.filters):
            logger.removeFilter(one)
