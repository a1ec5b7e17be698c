"""What was decided before: in the registry, in `reports/gate.json`, and in a note that saves asking.

A verdict holds for one file, one set of thresholds and one production model. Where all three are as they
were, nothing is judged again and `gate.json` keeps its bytes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines import gate, layout, tracking
from pipelines.errors import RegistryError
from pipelines.registration.judging import Case
from pipelines.registration.publish import AGAINST, GATE, NOBODY, THRESHOLDS, Verdict
from pipelines.registration.runs import RESTORED_TAG
from pipelines.registry import PRODUCTION, SHA256, Registry, Version

RUN_FILE = layout.GATE.name
"""The verdict among a run's files."""


def report(
    case: Case,
    verdict: Verdict,
    registry: Registry,
    version: Version | None,
    *,
    experiment: str | None = None,
) -> dict[str, Any]:
    """What `reports/gate.json` says."""
    production = verdict.production
    return {
        "architecture": case.selected.architecture,
        "sha256": verdict.sha256,
        "thresholds": verdict.thresholds,
        "passed": verdict.passed,
        "checks": gate.as_json(verdict.checks),
        "production": {"version": production[0], "sha256": production[1]} if production else None,
        "registered": _registered(registry, version) if version and verdict.passed else None,
        "experiment": experiment,
        "reasons": gate.reasons(verdict.checks) + _experiment_reason(experiment),
    }


def note_on_run(run_id: str, verdict: Verdict, path: Path, *, uri: str) -> None:
    """Leave the verdict on the run too: of a model that failed it is the only place in MLflow."""

    def write() -> None:
        from mlflow import MlflowClient
        from mlflow.entities import RunTag

        client = MlflowClient()
        client.log_artifact(run_id, str(path))
        # After the file: tags without it would point to nothing.
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in verdict.tags().items()])

    tracking.retrying(uri, write)


def recall(case: Case, registry: Registry, run_id: str, path: Path) -> str | None:
    """The text of `gate.json` if the registry knows this case already, else None.

    Args:
        case: that is brought.
        registry: as it is now.
        run_id: of the selected model.
        path: of `reports/gate.json`, which is believed if it fits.
    """
    version = registry.find(case.sha256)
    tags = version.tags if version else _run_tags(run_id, registry.uri)
    production = registry.aliased(PRODUCTION)
    if not _holds(tags, case, registered=version is not None, production=production):
        return None
    if version is not None and not registry.intact(version):
        return None
    text = _local(path)
    if not _fits(text, tags, version):
        text = _from_run(run_id, registry.uri)
    return text if _fits(text, tags, version) else None


def _holds(tags: Mapping[str, str], case: Case, *, registered: bool, production: Version | None) -> bool:
    if tags.get(SHA256) != case.sha256 or tags.get(THRESHOLDS) != case.thresholds:
        return False
    passed = tags.get(GATE) == "passed"
    if passed and (not registered or production is None):
        return False
    now = production.identity if production else NOBODY
    # A model that was promoted since is not compared with itself.
    return tags.get(AGAINST) == now or now == case.sha256


def _fits(text: str | None, tags: Mapping[str, str], version: Version | None) -> bool:
    try:
        said = json.loads(text or "")
        production = said["production"]["sha256"] if said["production"] else NOBODY
        registered = said["registered"]["version"] if said["registered"] else None
        passed = bool(said["passed"])
        found = (said["sha256"], said["thresholds"], production, said["experiment"])
    except (ValueError, KeyError, TypeError):
        return False
    number = version.number if version and passed else None
    return (
        found == (tags[SHA256], tags[THRESHOLDS], tags[AGAINST], None)
        and passed == (tags[GATE] == "passed")
        and registered == number
    )


def _local(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _from_run(run_id: str, uri: str) -> str | None:
    import mlflow.artifacts

    with tempfile.TemporaryDirectory(prefix="mien-gate-") as folder:
        try:
            path = tracking.retrying(
                uri,
                lambda: mlflow.artifacts.download_artifacts(
                    run_id=run_id, artifact_path=RUN_FILE, dst_path=folder
                ),
            )
        except RegistryError:
            return None  # never written, or gone: the case is judged again
        return _local(Path(path))


def _run_tags(run_id: str, uri: str) -> Mapping[str, str]:
    from mlflow import MlflowClient

    return tracking.retrying(uri, lambda: dict(MlflowClient().get_run(run_id).data.tags))


def _registered(registry: Registry, version: Version) -> dict[str, Any]:
    return {
        "model": registry.name,
        "version": version.number,
        "aliases": list(version.aliases),
        "restored": version.tags.get(RESTORED_TAG) == "true",
    }


def _experiment_reason(experiment: str | None) -> list[str]:
    return [f"this is the experiment {experiment}: nothing is registered"] if experiment else []
