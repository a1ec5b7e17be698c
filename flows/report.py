"""Where a run's report can be seen: at the version's run in MLflow, else as a file in the clone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines import layout
from pipelines.errors import RegistryError
from pipelines.files import read_json


def place_report(root: Path, *, tracking_uri: str) -> str:
    """Put the report where a browser finds it; returns Markdown that points there.

    Args:
        root: of the clone.
        tracking_uri: of MLflow; only a server has pages to link to.
    """
    path = root / layout.REPORT
    if not path.is_file():
        return "not written: the pipeline stopped before it"
    if tracking_uri.startswith("http") and (registered := _registered(root)):
        try:
            return f"[report.html]({_log(path, registered, tracking_uri)})"
        except RegistryError as error:
            return f"`{path}` ({error})"
    return f"`{path}`"


def _registered(root: Path) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] | None = read_json(root / layout.GATE)["registered"]
    except (OSError, ValueError, KeyError):
        return None
    return found


def _log(path: Path, registered: Mapping[str, Any], uri: str) -> str:
    """Add the file to the artifacts of the version's run; returns the address of its page."""
    from mlflow import MlflowClient

    from pipelines.tracking import translated

    with translated(uri):
        client = MlflowClient(tracking_uri=uri)
        version = client.get_model_version(registered["model"], str(registered["version"]))
        run = client.get_run(str(version.run_id))
        client.log_artifact(run.info.run_id, str(path))
    experiment = run.info.experiment_id
    return f"{uri.rstrip('/')}/#/experiments/{experiment}/runs/{run.info.run_id}/artifacts/{path.name}"
