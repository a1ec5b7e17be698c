"""The processes of the stack: addresses, commands and variables, all from the environment.

`check_ports` finds ports that other programs use before anything starts, and names the setting to change.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows import guard
from flows.errors import PortTaken, StackError
from flows.repro.workspace import HOME

POOL = "mien"
HEARTBEAT_S = 30
"""Also in prefect.yaml; the minimum that Prefect accepts."""

# With Prefect's default, in memory, a slot in use when the server ends would never be free again.
_LEASES = "prefect.server.concurrency.lease_storage.filesystem"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Addresses and folders of the stack."""

    root: Path
    """The checkout."""
    host: str
    mlflow_port: int
    prefect_port: int
    service_host: str
    service_port: int

    @property
    def mlflow(self) -> str:
        """Address of MLflow's pages and API."""
        return f"http://{self.host}:{self.mlflow_port}"

    @property
    def prefect(self) -> str:
        """Address of Prefect's pages; its API is below `/api`."""
        return f"http://{self.host}:{self.prefect_port}"

    @property
    def service(self) -> str:
        """Address of the service."""
        return f"http://{self.service_host}:{self.service_port}"

    @property
    def prefect_home(self) -> Path:
        """Folder of Prefect's database and settings, used instead of the user's `~/.prefect`."""
        return self.root / HOME / "prefect"

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Variables of every process: all state is below `.mien` and `mlruns`, and telemetry is off."""
        return {
            **given,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), given.get("PATH", os.defpath)]),
            "PYTHONUNBUFFERED": "1",
            "DO_NOT_TRACK": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # Off: seven idle processes for features that are not used here.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_TRACKING_URI": self.mlflow,
            "MIEN_PORT": str(self.service_port),
            "PREFECT_HOME": str(self.prefect_home),
            "PREFECT_API_URL": f"{self.prefect}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": _LEASES,
            # Seconds that a writer waits for another one; the default of ten is too short on a busy machine.
            "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
            # ISO 8601: for thirty days the server remembers which runs must send heartbeats. With the default
            # of a minute, a run that ended together with the stack would be `Running` for ever.
            "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "P30D",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
            "PREFECT_LOGGING_SERVER_LEVEL": given.get("PREFECT_LOGGING_SERVER_LEVEL", "WARNING"),
        }

    def commands(self, owner: int) -> dict[str, str]:
        """One shell command for each process, under guard; all end with the process `owner`."""
        python = [sys.executable, "-m"]
        mlflow, prefect = f"{self.mlflow}/health", f"{self.prefect}/api/health"
        wait = [*python, "flows.dev_stack.wait"]
        plain = {
            "mlflow": [*python, "flows.dev_stack.mlflow_server"],
            "prefect": [
                *python,
                "prefect",
                "server",
                "start",
                "--host",
                self.host,
                "--port",
                str(self.prefect_port),
            ],
            "worker": [*wait, mlflow, prefect, "--", *python, "flows.dev_stack.worker"],
            "service": [*wait, mlflow, "--", *python, "serving"],
            "mien": [*python, "flows.dev_stack.status"],
        }
        return {
            name: shlex.join(guard.command(command, owner=owner, signal_name="TERM", grace_s=STOP_S))
            for name, command in plain.items()
        }


STOP_S = 35.0
"""Seconds until processes that have not stopped are killed; more than the service's MIEN_SHUTDOWN_S of 30."""


def read_stack(environment: Mapping[str, str], root: Path) -> Stack:
    """Read the stack's settings from the environment.

    Raises:
        StackError: a port is not a number from 1 to 65535.
    """
    return Stack(
        root=root.absolute(),
        host=environment.get("HOST") or "127.0.0.1",
        mlflow_port=_port(environment, "MLFLOW_PORT", 5000),
        prefect_port=_port(environment, "PREFECT_PORT", 4200),
        service_host=environment.get("MIEN_HOST") or "127.0.0.1",
        service_port=_port(environment, "MIEN_PORT", 8000),
    )


def _port(environment: Mapping[str, str], variable: str, default: int) -> int:
    given = environment.get(variable, "").strip() or str(default)
    if not given.isdecimal() or not 1 <= int(given) <= 65535:
        raise StackError(f"{variable}: got {given!r}, expected a port from 1 to 65535; correct it")
    return int(given)


def check_ports(stack: Stack) -> None:
    """Check that every service can listen on its port.

    Raises:
        PortTaken: another program uses a port.
        StackError: two services have the same port, or the address is not this machine's.
    """
    services = {
        "MLFLOW_PORT": ("MLflow", stack.host, stack.mlflow_port),
        "PREFECT_PORT": ("Prefect", stack.host, stack.prefect_port),
        "MIEN_PORT": ("the service", stack.service_host, stack.service_port),
    }
    ports = [port for _, _, port in services.values()]
    if len(set(ports)) < len(ports):
        given = ", ".join(f"{variable}={port}" for variable, (_, _, port) in services.items())
        raise StackError(f"two services have the same port ({given}); give each its own")
    for variable, (service, host, port) in services.items():
        try:
            _listen(host, port)
        except PermissionError as error:
            raise StackError(
                f"{variable}: port {port} requires root ({error}); choose one above 1023"
            ) from error
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno in _NO_SUCH_ADDRESS:
                raise StackError(
                    f"{host} is not an address of this machine ({error}); correct HOST"
                ) from error
            raise PortTaken(service=service, host=host, port=port, variable=variable, others=ports) from error


def _listen(host: str, port: int) -> None:
    """Listen for a moment, with SO_REUSEADDR as servers do: closed connections do not block a port."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1)


# EADDRNOTAVAIL on Linux and on macOS.
_NO_SUCH_ADDRESS = (99, 49)
