"""Publish a verdict to the registry: tags, description, files and aliases of a model version."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.core.errors import RegistryError
from pipelines.core.io import sha256_of
from pipelines.core.lineage import Lineage
from pipelines.gate.record import GateVerdict
from pipelines.gate.rules import Check
from pipelines.register.package import write_package
from pipelines.register.runs import RESTORED_TAG, RunRef, VariantResults
from pipelines.register.sign import Signer, check_stored, files_of
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import CANDIDATE, MODEL_FILE, PRODUCTION, SHA256, Registry, Version
from serving.contract.arrays import Image
from serving.contract.model import ModelContract
from serving.signatures import SIGNED_BY

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

GATE = "gate"
"""Tag: `passed`, `held` or `failed`; `gate.<check>` holds each check's value."""
VERDICT = "verdict"
"""Tag: digest of the verdict, which tells `register` that a version or run already has it."""
THRESHOLDS = "thresholds"
"""Tag: digest of the thresholds of the verdict."""
PRODUCTION_SHA256 = "production_sha256"
"""Tag: sha256 of the production model that the model was compared with, or `none`."""
NO_PRODUCTION = "none"
FLOAT_SHA256 = "twin_sha256"
"""Tag of an int8 variant: sha256 of the float32 model that it was made from."""

_MARKS = {"failed": "✗ FAILED", "unclear": "? UNCLEAR", "passed": "✓"}
_DIVIDER = "\n\n---\n\n"
# Width of MLflow's column; SQLite ignores it, PostgreSQL and MySQL reject longer texts.
_LONGEST_DESCRIPTION = 5000
_CUT = "\n\n… (complete text: `card.md` in the version's files, `gate.json` in the run's artifacts)"


def verdict_tags(verdict: GateVerdict) -> dict[str, str]:
    """Convert a verdict to MLflow tags, including the value of each check."""
    return {
        GATE: verdict.outcome,
        VERDICT: verdict.digest,
        SHA256: verdict.sha256,
        THRESHOLDS: verdict.thresholds,
        PRODUCTION_SHA256: verdict.production.sha256 if verdict.production else NO_PRODUCTION,
        **_values(verdict.checks),
    }


def verdict_page(verdict: GateVerdict) -> str:
    """Render a verdict as Markdown, a check with its reason in each line: failed, unclear, passed ones.

    Of the classes or slices that passed a check, only the one closest to failing is listed.
    """
    against = (
        f"production version {verdict.production.version}"
        if verdict.production
        else "no other model in production"
    )
    outcome = {"passed": "passed", "held": "HELD", "failed": "FAILED"}[verdict.outcome]
    title = f"## Quality gate: {outcome}, compared with {against}"
    # A list, because MLflow renders tables without space between the columns.
    lines = [
        f"* {_MARKS[check.state]} `{check.name}`: {check.reason}{note}"
        for check, note in sorted(
            _shortened(verdict.checks), key=lambda line: list(_MARKS).index(line[0].state)
        )
    ]
    return "\n".join((title, "", *lines))


def _shortened(checks: Sequence[Check]) -> Iterator[tuple[Check, str]]:
    """Yield the checks of a page, each with a note on those that it stands for."""
    groups: dict[tuple[str, bool], list[Check]] = {}
    for check in checks:
        kind = check.name.partition(".")[0]
        groups.setdefault((kind, check.state == "passed"), []).append(check)
    for (_, passed), group in groups.items():
        if passed and len(group) > 1:
            yield min(group, key=_margin), f" (the closest to failing of {len(group)})"
        else:
            yield from ((check, "") for check in group)


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A model that passed the quality gate, and everything that is registered with it."""

    onnx: Path
    contract: ModelContract
    embedding: int
    """Length of the embedding."""
    example: Image
    """uint8 [1, H, W, 3]."""
    extras: Path
    """Folder with the additional files."""
    card: str
    """Short model card, Markdown; the complete card is in `extras`."""
    signer: Signer | None = None
    """Key that signs the files; None: they are not signed."""

    def is_signed_in(self, version: Version) -> bool:
        """Whether a version has this signer's signature; True without a signer, also if it is signed."""
        return self.signer is None or version.tags.get(SIGNED_BY) == self.signer.fingerprint


def version_tags(
    verdict: GateVerdict, results: VariantResults, lineage: Lineage, *, sample: bool, restored: bool
) -> dict[str, str]:
    """Return all tags of a version: model, lineage and verdict; `sample`: trained on drawn faces."""
    tags = {
        "architecture": results.architecture,
        "title": results.metrics.title,
        "weights": results.training.weights,
        "dataset": results.training.dataset,
        "sample": "true" if sample else "false",
        **_float_model_tag(results),
        **lineage.tags(),
        **({RESTORED_TAG: "true"} if restored else {}),
    }
    return tags | verdict_tags(verdict)


def _float_model_tag(results: VariantResults) -> dict[str, str]:
    float_model = results.export.twin
    return {FLOAT_SHA256: float_model.sha256} if float_model else {}


def publish(
    registry: Registry, submission: Submission, verdict: GateVerdict, run: RunRef, *, tags: Mapping[str, str]
) -> Version:
    """Register the file, or update its existing version, and set the alias `candidate` on it.

    The alias `production` is set only if no version has it; later promotions are manual. A version that is
    held gets neither, and loses `candidate`.
    """
    description = truncated(f"{verdict_page(verdict)}{_DIVIDER}{submission.card}")
    if submission.signer is not None:
        tags = {**tags, SIGNED_BY: submission.signer.fingerprint}
    version = registry.find(verdict.sha256)
    if version is None:
        version = _register(registry, submission, run, tags=tags, description=description)
    else:
        # Before the tags: a service that sees that a version is signed fetches its files.
        _restore_files(registry, version, submission)
        _refresh(registry, version, tags=tags, description=description)
    if verdict.held:
        if CANDIDATE in version.aliases:
            registry.drop_alias(CANDIDATE)
        return registry.get(version.number)
    registry.set_alias(CANDIDATE, version)
    if registry.aliased(PRODUCTION) is None:
        registry.promote(version, by="the quality gate, since there was no version in production")
    return registry.get(version.number)


def withdraw(registry: Registry, version: Version, verdict: GateVerdict) -> None:
    """Update the version of a file that no longer passes: remove the alias `candidate`, state the reasons."""
    _, _, card = version.description.partition(_DIVIDER)
    _refresh(
        registry,
        version,
        tags=verdict_tags(verdict),
        description=truncated(f"{verdict_page(verdict)}{_DIVIDER}{card}"),
    )
    if CANDIDATE in version.aliases:
        registry.drop_alias(CANDIDATE)


def truncated(text: str) -> str:
    """Truncate `text` at the end of a line if it is longer than the database column."""
    if len(text) <= _LONGEST_DESCRIPTION:
        return text
    return text[: _LONGEST_DESCRIPTION - len(_CUT)].rsplit("\n", 1)[0] + _CUT


def _refresh(registry: Registry, version: Version, *, tags: Mapping[str, str], description: str) -> None:
    old = {name for name in version.tags if name.startswith(f"{GATE}.")}
    registry.drop_tags(version, old - set(tags))
    registry.annotate(version, tags=tags, description=description)


def _register(
    registry: Registry, submission: Submission, run: RunRef, *, tags: Mapping[str, str], description: str
) -> Version:
    logged = tracking.retrying(registry.uri, lambda: _new_model(run, tags))
    try:
        tracking.retrying(registry.uri, lambda: _upload(submission, logged, registry.uri))
        tracking.retrying(registry.uri, lambda: _finish(run, logged))
        version, new = registry.add(
            model_id=logged.model_id, run_id=run.run_id, tags=tags, description=description
        )
    except BaseException:
        _discard(registry.uri, logged)
        raise
    if new:
        tracking.retrying(registry.uri, lambda: _link(logged, registry.name, version))
    else:
        _discard(registry.uri, logged)
    return version


def _restore_files(registry: Registry, version: Version, submission: Submission) -> None:
    """Store the files of a version again if its folder was deleted, or if they are to be signed."""
    signed = submission.is_signed_in(version)
    model_id = version.model_id if signed else files_of(registry, version)
    if model_id is None or (signed and registry.intact(version)):
        return
    logged = tracking.retrying(registry.uri, lambda: _client().get_logged_model(model_id))
    tracking.retrying(registry.uri, lambda: _upload(submission, logged, registry.uri))
    if submission.signer is None:
        registry.drop_tags(version, {SIGNED_BY})


def _new_model(run: RunRef, tags: Mapping[str, str]) -> LoggedModel:
    client = _client()
    found = client.get_run(run.run_id)
    return client.create_logged_model(
        found.info.experiment_id,
        name=tags["architecture"],
        source_run_id=run.run_id,
        tags={key: tags[key] for key in (SHA256, "architecture", "dataset", "git_commit")},
        params=found.data.params,
        model_type="classifier",
    )


def _upload(submission: Submission, logged: LoggedModel, uri: str) -> None:
    """Store the files, and verify the bytes of the stored model."""
    import mlflow.artifacts

    with tempfile.TemporaryDirectory(prefix="mien-package-") as folder:
        package = Path(folder) / "package"
        write_package(
            package,
            onnx=submission.onnx,
            contract=submission.contract,
            embedding=submission.embedding,
            example=submission.example,
            extras=submission.extras,
            logged=logged,
        )
        if submission.signer is not None:
            submission.signer.sign(package)
        _client().log_model_artifacts(logged.model_id, str(package))
        stored = mlflow.artifacts.download_artifacts(
            artifact_uri=f"models:/{logged.model_id}", dst_path=f"{folder}/stored"
        )
        if sha256_of(Path(stored) / MODEL_FILE) != sha256_of(submission.onnx):
            raise RegistryError(
                uri=uri,
                reason=f"the stored {MODEL_FILE} differs from the local file",
                remedy="check the artifact store, then run `dvc repro` again",
            )
        if submission.signer is not None:
            check_stored(Path(stored), submission.signer, uri=uri)


def _finish(run: RunRef, logged: LoggedModel) -> None:
    from mlflow.entities import LoggedModelOutput

    client = _client()
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run.run_id, models=[LoggedModelOutput(logged.model_id, step=0)])


def _link(logged: LoggedModel, name: str, version: Version) -> None:
    """Set the tag from which MLflow's page of the logged model knows that the model is registered."""
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    link = json.dumps([{"name": name, "version": str(version.number)}])
    _client().set_logged_model_tags(logged.model_id, {MLFLOW_MODEL_VERSIONS: link})


def _discard(uri: str, logged: LoggedModel) -> None:
    tracking.retrying(uri, lambda: _client().delete_logged_model(logged.model_id))


def _client() -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient()


def _values(checks: Sequence[Check]) -> dict[str, str]:
    """Return one tag per kind of check; for checks of every class, the value closest to failing.

    This keeps the number of tags small enough for MLflow's tables (about two dozen); the description has
    every value.
    """
    closest: dict[str, tuple[float, str]] = {}
    for check in checks:
        kind, _, label = check.name.partition(".")
        margin = _margin(check)
        if kind not in closest or margin < closest[kind][0]:
            closest[kind] = (margin, f"{_value(check)} ({label})" if label else _value(check))
    return {f"{GATE}.{kind}": value for kind, (_, value) in closest.items()}


def _margin(check: Check) -> float:
    """Distance of the value from failing; negative if it failed, infinite for checks without a number."""
    if not check.passed and check.value is None:
        return -math.inf
    if check.value is None or check.threshold is None:
        return math.inf
    if check.drop is not None:
        return check.threshold - check.drop.high
    return check.value - check.threshold if check.name.startswith("min_") else check.threshold - check.value


def _value(check: Check) -> str:
    if check.value is None:
        return "passed" if check.passed else "failed"
    return f"{check.value:.4g}"
