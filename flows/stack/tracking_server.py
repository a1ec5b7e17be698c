"""The stack's MLflow server: makes sure of a whole database first, then becomes `mlflow server`.

MLflow creates its tables in some sixty migrations, seconds in all. Killed among them it leaves a database
that no MLflow opens again, so a new one is made beside its place and moved there when it is whole.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from flows.stack.services import read_stack
from pipelines import layout


def main() -> None:
    """Make the database if there is none, then serve it."""
    stack = read_stack(os.environ, Path.cwd())
    database = (stack.root / layout.MLFLOW_DATABASE).absolute()
    if not database.exists():
        create(database)
    # Files go where `dvc repro` without a server puts them, so that both find each other's.
    artifacts = (stack.root / layout.MLFLOW_ARTIFACTS).absolute()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--host", stack.host, "--port", str(stack.mlflow_port)),
        *("--backend-store-uri", f"sqlite:///{database}"),
        *("--uvicorn-opts", "--log-level warning"),
        *("--default-artifact-root", artifacts.as_uri(), "--artifacts-destination", str(artifacts)),
    ]
    os.execv(command[0], command)  # noqa: S606 - the command is this file's own


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
