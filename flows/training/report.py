"""The report of a run: logged to the model version's run in MLflow, else a file in the clone."""

from __future__ import annotations

from pathlib import Path

from pipelines.core.errors import RegistryError
from pipelines.register.status import Decision
from serving.urls import SecretUrl


def place_report(path: Path, decision: Decision | None, *, tracking_uri: str) -> str:
    """Log the report to MLflow if a version was registered; returns Markdown that links to it.

    Args:
        path: of the report.
        decision: of the gate, with the version whose run gets the report.
        tracking_uri: of MLflow; only a server has pages to link to.
    """
    if tracking_uri.startswith("http") and decision and decision.model and decision.version:
        try:
            return f"[report.html]({_log(path, decision.model, decision.version.number, tracking_uri)})"
        except RegistryError as error:
            return f"`{path}` ({error})"
    return f"`{path}`"


def _log(path: Path, model: str, number: int, uri: str) -> str:
    """Log the file as an artifact of the version's run; returns the address of its page."""
    from mlflow import MlflowClient

    from pipelines.tracking.runs import translated

    with translated(uri):
        client = MlflowClient(tracking_uri=uri)
        version = client.get_model_version(model, str(number))
        run = client.get_run(str(version.run_id))
        client.log_artifact(run.info.run_id, str(path))
    experiment = run.info.experiment_id
    server = SecretUrl(uri).public
    return f"{server}/#/experiments/{experiment}/runs/{run.info.run_id}/artifacts/{path.name}"
