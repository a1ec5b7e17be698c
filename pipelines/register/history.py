"""Find out whether MLflow already has a verdict, and record the published verdict in `registered.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.core import paths
from pipelines.core.errors import ResultCorrupt
from pipelines.core.records import read_record, write_record
from pipelines.gate.record import GateVerdict
from pipelines.register.publish import VERDICT, verdict_tags
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import PRODUCTION, Registry


@dataclass(frozen=True, kw_only=True)
class Registered:
    """Which verdict was published: `reports/registered.json`.

    The version's number and aliases are not recorded, because they can change in the registry.
    """

    model: str
    """Name of the registered model."""
    architecture: str
    sha256: str
    """SHA-256 of the ONNX file."""
    verdict: str
    """Digest of the verdict."""
    experiment: str | None


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
    version = registry.find(verdict.sha256)
    if version is None:
        return not verdict.passed
    if verdict.outcome == "passed" and registry.aliased(PRODUCTION) is None:
        return False
    whole = not verdict.passed or registry.intact(version)
    return whole and version.tags.get(VERDICT) == verdict.digest


def mark(root: Path, verdict: GateVerdict, model: str) -> None:
    """Record in `registered.json` which verdict was published; write only if the content changes."""
    record = Registered(
        model=model,
        architecture=verdict.architecture,
        sha256=verdict.sha256,
        verdict=verdict.digest,
        experiment=verdict.experiment,
    )
    if _read(root / paths.REGISTERED) != record:
        write_record(root / paths.REGISTERED, record)


def is_marked(root: Path, verdict: GateVerdict) -> bool:
    """Whether `registered.json` records this verdict."""
    record = _read(root / paths.REGISTERED)
    return record is not None and record.verdict == verdict.digest


def _read(path: Path) -> Registered | None:
    try:
        return read_record(path, Registered, stage="register")
    except ResultCorrupt:
        return None  # missing or damaged: the file is written again


def _run_tags(run_id: str, uri: str) -> Mapping[str, str]:
    from mlflow import MlflowClient

    return tracking.retrying(uri, lambda: dict(MlflowClient().get_run(run_id).data.tags))
