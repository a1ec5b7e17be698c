"""The stack's MLflow server: makes sure of a whole database first, then becomes `mlflow server`.

MLflow creates its tables in some sixty migrations, seconds in all. Killed among them it leaves a database
that no MLflow opens again, so a new one is made beside its place and moved there when it is whole.

With MLFLOW_BACKEND_STORE_URI (PostgreSQL) and MLFLOW_ARTIFACTS_DESTINATION (S3) it is the server of
docker-compose.yml: another database and another place for files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from flows.dev_stack.services import Stack, read_stack
from pipelines.core import paths

BACKEND = "MLFLOW_BACKEND_STORE_URI"
"""MLflow's own; without it the checkout's SQLite file is served."""


def main() -> None:
    """Make the database if there is none, then serve it."""
    stack = read_stack(os.environ, Path.cwd())
    if not os.environ.get(BACKEND):
        database = (stack.root / paths.MLFLOW_DATABASE).absolute()
        if not database.exists():
            create(database)
    wanted = command(stack, os.environ)
    os.execv(wanted[0], wanted)  # noqa: S606 - the command is this file's own


def command(stack: Stack, environment: Mapping[str, str]) -> list[str]:
    """What starts MLflow's server, here and in containers.

    Args:
        stack: where it listens.
        environment: may name another database and another place for files, by MLflow's own variables.
            Files then go through the server, so that clients need neither the place nor its keys.
    """
    server = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--host", stack.host, "--port", str(stack.mlflow_port)),
        *("--uvicorn-opts", "--log-level warning"),
    ]
    if environment.get(BACKEND):
        # Not as options: the database's address holds a password, and a command line can be read by all.
        return [*server, "--default-artifact-root", "mlflow-artifacts:/"]
    database = (stack.root / paths.MLFLOW_DATABASE).absolute()
    # Files go where `dvc repro` without a server puts them, so that both find each other's.
    artifacts = (stack.root / paths.MLFLOW_ARTIFACTS).absolute()
    return [
        *server,
        *("--backend-store-uri", f"sqlite:///{database}"),
        *("--default-artifact-root", artifacts.as_uri(), "--artifacts-destination", str(artifacts)),
    ]


def create(database: Path) -> None:
    """Make an empty MLflow database, whole or not at all."""
    from mlflow import MlflowClient

    partial = database.with_name(f".{database.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    MlflowClient(tracking_uri=f"sqlite:///{partial}").search_experiments(max_results=1)
    partial.replace(database)


if __name__ == "__main__":
    main()
