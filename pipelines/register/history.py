"""What is already in MLflow: does the registry know a verdict; and the mark that `register` leaves of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipelines.core import paths
from pipelines.core.io import read_json, write_json
from pipelines.gate.record import GateVerdict
from pipelines.register.publish import VERDICT, verdict_tags
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import PRODUCTION, Registry


def log_verdict_on_run(run_id: str, verdict: GateVerdict, path: Path, *, uri: str) -> None:
    """Leave the verdict on the run too: of a model that failed it is the only place in MLflow.

    Args:
        run_id: of the selected model.
        verdict: the gate's.
        path: of `reports/gate.json`.
        uri: of the registry.
    """

    def write() -> None:
        from mlflow import MlflowClient
        from mlflow.entities import RunTag

        client = MlflowClient()
        client.log_artifact(run_id, str(path))
        # After the file: tags without it would point to nothing.
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in verdict_tags(verdict).items()])

    tracking.retrying(uri, write)


def is_recorded(verdict: GateVerdict, registry: Registry, run_id: str) -> bool:
    """Whether version and run bear this verdict, and aliases and files are there as it wants them."""
    if _run_tags(run_id, registry.uri).get(VERDICT) != verdict.digest:
        return False
    version = registry.find(verdict.subject.sha256)
    if version is None:
        return not verdict.passed
    if verdict.passed and registry.aliased(PRODUCTION) is None:
        return False
    whole = not verdict.passed or registry.intact(version)
    return whole and version.tags.get(VERDICT) == verdict.digest


def mark(root: Path, verdict: GateVerdict, model: str) -> None:
    """Write `registered.json`, unless it says so already: which verdict the registry has been given.

    Not which number and aliases the version has there: only the registry knows, and others change it.
    """
    said = {
        "model": model,
        "architecture": verdict.subject.architecture,
        "sha256": verdict.subject.sha256,
        "verdict": verdict.digest,
        "experiment": verdict.subject.experiment,
    }
    if _read(root / paths.REGISTERED) != said:
        write_json(root / paths.REGISTERED, said)


def is_marked(root: Path, verdict: GateVerdict) -> bool:
    """Whether the mark is there and is of this verdict."""
    return (_read(root / paths.REGISTERED) or {}).get("verdict") == verdict.digest


def _read(path: Path) -> Mapping[str, object] | None:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None  # absent or damaged: it is written again


def _run_tags(run_id: str, uri: str) -> Mapping[str, str]:
    from mlflow import MlflowClient

    return tracking.retrying(uri, lambda: dict(MlflowClient().get_run(run_id).data.tags))
