"""The stack's MLflow server: creates the database if necessary, then becomes `mlflow server`.

MLflow creates its tables in about sixty migrations, which take seconds. A database whose migrations were
killed cannot be opened again, so that a new one is created under another name and renamed when complete.

With MLFLOW_BACKEND_STORE_URI (PostgreSQL) and MLFLOW_ARTIFACTS_DESTINATION (S3) it is the server of
docker-compose.yml, with another database and another store for files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from flows.dev_stack.services import Stack, read_stack
from pipelines.core import paths

BACKEND = "MLFLOW_BACKEND_STORE_URI"
"""Variable of MLflow; without it the server uses the checkout's SQLite file."""


def main() -> None:
    """Create the database if it does not exist, then serve it."""
    stack = read_stack(os.environ, Path.cwd())
    if not os.environ.get(BACKEND):
        database = (stack.root / paths.MLFLOW_DATABASE).absolute()
        if not database.exists():
            create(database)
    arguments = command(stack, os.environ)
    os.execv(arguments[0], arguments)  # noqa: S606 - the command is this file's own


def command(stack: Stack, environment: Mapping[str, str]) -> list[str]:
    """Command line of MLflow's server, here and in containers.

    Args:
        stack: with host and port.
        environment: may select another database and another store for files, by MLflow's variables. Files
            then go through the server, so that clients need neither the store's address nor its keys.
    """
    server = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--host", stack.host, "--port", str(stack.mlflow_port)),
        *("--uvicorn-opts", "--log-level warning"),
    ]
    if environment.get(BACKEND):
        # Not as options: the address may contain a password, and all users can read a command line.
        return [*server, "--default-artifact-root", "mlflow-artifacts:/"]
    database = (stack.root / paths.MLFLOW_DATABASE).absolute()
    # The folder that `dvc repro` uses without a server, so that both find all files.
    artifacts = (stack.root / paths.MLFLOW_ARTIFACTS).absolute()
    return [
        *server,
        *("--backend-store-uri", f"sqlite:///{database}"),
        *("--default-artifact-root", artifacts.as_uri(), "--artifacts-destination", str(artifacts)),
    ]


def create(database: Path) -> None:
    """Create an empty MLflow database; the file appears when it is complete."""
    from mlflow import MlflowClient

    partial = database.with_name(f".{database.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    MlflowClient(tracking_uri=f"sqlite:///{partial}").search_experiments(max_results=1)
    partial.replace(database)


if __name__ == "__main__":
    main()
