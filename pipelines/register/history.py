"""Find out whether MLflow already has a verdict, and record the published verdict in `registered.json`."""

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
    """Log the verdict to the run; for a rejected model this is the only place in MLflow that has it.

    Args:
        run_id: run of the selected model.
        verdict: verdict of the gate.
        path: path of `reports/gate.json`.
        uri: URI of the registry.
    """

    def write() -> None:
        from mlflow import MlflowClient
        from mlflow.entities import RunTag

        client = MlflowClient()
        client.log_artifact(run_id, str(path))
        # After the file, so that tags never refer to a missing file.
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in verdict_tags(verdict).items()])

    tracking.retrying(uri, write)


def is_recorded(verdict: GateVerdict, registry: Registry, run_id: str) -> bool:
    """Whether version and run have this verdict, and the aliases and files exist that it requires."""
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
    """Record in `registered.json` which verdict was published; write only if the content changes.

    The version's number and aliases are not recorded, because they can change in the registry.
    """
    record = {
        "model": model,
        "architecture": verdict.subject.architecture,
        "sha256": verdict.subject.sha256,
        "verdict": verdict.digest,
        "experiment": verdict.subject.experiment,
    }
    if _read(root / paths.REGISTERED) != record:
        write_json(root / paths.REGISTERED, record)


def is_marked(root: Path, verdict: GateVerdict) -> bool:
    """Whether `registered.json` records this verdict."""
    return (_read(root / paths.REGISTERED) or {}).get("verdict") == verdict.digest


def _read(path: Path) -> Mapping[str, object] | None:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None  # missing or damaged: the file is written again


def _run_tags(run_id: str, uri: str) -> Mapping[str, str]:
    from mlflow import MlflowClient

    return tracking.retrying(uri, lambda: dict(MlflowClient().get_run(run_id).data.tags))
