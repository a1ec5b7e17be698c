"""What the stack consists of: each process's address, command and variables, all from the environment."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows import guard
from flows.errors import StackError
from flows.workspace import HOME

POOL = "mien"
HEARTBEAT_S = 30
"""Also in prefect.yaml; the least that Prefect takes."""

# In memory, Prefect's default, a place that was taken when the server ended would never be free again.
_LEASES = "prefect.server.concurrency.lease_storage.filesystem"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Where everything listens and lies."""

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
        """Prefect's database and settings; nothing of the user's own `~/.prefect` is read or written."""
        return self.root / HOME / "prefect"

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Variables of every process: all state below `.mien` and `mlruns`, nobody is phoned."""
        return {
            **given,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), given.get("PATH", os.defpath)]),
            "PYTHONUNBUFFERED": "1",
            "DO_NOT_TRACK": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # Seven idle processes for features that nothing here uses.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_TRACKING_URI": self.mlflow,
            "MIEN_PORT": str(self.service_port),
            "PREFECT_HOME": str(self.prefect_home),
            "PREFECT_API_URL": f"{self.prefect}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": _LEASES,
            # Seconds that a writer waits for another: on a busy machine ten, the default, are few.
            "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
            # ISO 8601: thirty days for which the server remembers whose signs of life it waits for. After the
            # default of a minute, a run that ended with the whole stack would be running for ever.
            "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "P30D",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
            "PREFECT_LOGGING_SERVER_LEVEL": given.get("PREFECT_LOGGING_SERVER_LEVEL", "WARNING"),
        }

    def commands(self, owner: int) -> dict[str, str]:
        """One shell command for each process, under guard; `owner` is whose end is theirs."""
        python = [sys.executable, "-m"]
        mlflow, prefect = f"{self.mlflow}/health", f"{self.prefect}/api/health"
        wait = [*python, "flows.stack.wait"]
        plain = {
            "mlflow": [*python, "flows.stack.tracking_server"],
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
            "worker": [*wait, mlflow, prefect, "--", *python, "flows.stack.worker"],
            "service": [*wait, mlflow, "--", *python, "serving"],
            "mien": [*python, "flows.stack.announce"],
        }
        return {
            name: shlex.join(guard.command(command, owner=owner, signal_name="TERM", grace_s=STOP_S))
            for name, command in plain.items()
        }


STOP_S = 35.0
"""Seconds until what has not stopped is killed: more than the service's own MIEN_SHUTDOWN_S of 30."""


def read_stack(environment: Mapping[str, str], root: Path) -> Stack:
    """The stack as the environment wants it.

    Raises:
        StackError: a port is no number.
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
