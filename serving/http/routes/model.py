"""GET /model, /model/history and /model/card: the live model, its history, its card and test metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.detection.bodies import Count, Sha256, Time, iso_time
from serving.detection.detectors import Detectors
from serving.http.endpoint import ACCESS, Dependencies, Routes, Schema, documented
from serving.http.request.body import json_response, read_limit
from serving.http.routes.shadow import Canary, canary_state
from serving.inference.model_slot import LiveModel
from serving.model_sync.service import ModelSyncStatus
from serving.observations.records import SignatureState, Switch, SwitchKind

SAMPLE_NOTICE = "Trained on the procedural sample of drawn faces: a demonstration, not for real faces."
_HISTORY, _MAX_HISTORY = 100, 1000

_LIMIT: Schema = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": _MAX_HISTORY, "default": _HISTORY},
}

routes = Routes("model")


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveModelFacts:
    """The live model with its contract and lineage."""

    name: str
    version: str
    sha256: Sha256
    architecture: str
    weights: str
    sample: bool
    signed_by: str | None
    """Fingerprint of the trusted key that signed the model's files; null without MIEN_TRUSTED_KEYS."""
    notice: str | None
    since: Time
    size_bytes: Count
    face_detector: str | None
    """Detector that finds faces for this model; null if looking for faces is switched off."""
    contract: Mapping[str, Any]
    lineage: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchLimitFacts:
    """The limit of a batch in the process that answers."""

    max_images: Count
    """Maximum number of pictures that the network gets at once."""
    target_p99_ms: float | None
    """MIEN_TARGET_P99_MS; null if it is not set."""
    reason: str
    """Why the limit is what it is, with the measured times."""


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """The live model, or why none is live."""

    live: LiveModelFacts | None
    reason: str
    """Why this model is live, or why none is."""
    batches: BatchLimitFacts | None
    """Limit of the batches; null if no model is live."""
    following: Mapping[str, Any]
    canary: Canary | None
    """State of the canary; null if MIEN_CANARY is 0."""


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSwitch:
    """One process changed its live model, or a canary began or ended."""

    time: Time
    from_version: str | None
    """null when no model was live."""
    from_sha256: str | None
    to_version: str | None
    to_sha256: str | None
    reason: str
    process: str
    """Host and process id: every worker switches for itself."""
    kind: SwitchKind
    promoted_by: str | None
    """User who promoted the version by command; null where that is unknown."""
    signature: SignatureState | None = None
    """Signature of the files of to_version when they were loaded. trusted: by one of MIEN_TRUSTED_KEYS, which
    was checked; unchecked: there is a signature, and MIEN_TRUSTED_KEYS is empty; missing: not signed; null:
    unknown, as in entries of earlier services."""
    signed_by: str | None = None
    """Fingerprint of the key that the signature names: proven where it is trusted, else only claimed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """Switches, newest first."""

    switches: list[ModelSwitch]


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """The live model's card and test metrics."""

    version: str
    sha256: str
    card: str | None
    """Markdown; null if the model has none."""
    metrics: Mapping[str, Any] | None
    """Metrics of the test pictures; null if the model has none."""


@routes.add("GET", "/model", answer=Model, problems=ACCESS)
async def model(request: Request) -> Response:
    """The live model, its contract and lineage; the synchronised location and the last refused model."""
    dependencies: Dependencies = request.state.dependencies
    live = dependencies.slot.current
    return json_response(
        Model(
            live=_live(live, dependencies.detectors) if live else None,
            reason=dependencies.slot.reason,
            batches=_batches(live, dependencies) if live else None,
            following=_following(dependencies.model_sync.status()),
            canary=canary_state(dependencies.experiments.canary),
        )
    )


@routes.add("GET", "/model/history", answer=History, problems=(*ACCESS, 400, 503), parameters=[_LIMIT])
async def history(request: Request) -> Response:
    """All switches of all workers, newest first."""
    dependencies: Dependencies = request.state.dependencies
    limit = read_limit(request, default=_HISTORY, max_limit=_MAX_HISTORY)
    rows = await asyncio.to_thread(dependencies.store.switches, limit)
    return json_response(History(switches=[_switch(row) for row in rows]))


def _live(live: LiveModel, detectors: Detectors) -> LiveModelFacts:
    identity, contract = live.identity, live.contract
    return LiveModelFacts(
        name=identity.name,
        version=identity.version,
        sha256=identity.sha256,
        architecture=contract.architecture,
        weights=contract.weights,
        sample=identity.sample,
        signed_by=live.signed_by,
        notice=SAMPLE_NOTICE if identity.sample else None,
        since=iso_time(live.since),
        size_bytes=live.classifier.size_bytes,
        face_detector=detectors.name(contract.input),
        contract=orjson.loads(contract.to_json()),
        lineage={
            "source": identity.source,
            "run_id": identity.run_id,
            "git_commit": identity.git_commit,
            "dirty": identity.dirty,
            "dataset": contract.dataset,
            "data_dvc": identity.data_dvc,
        },
    )


def _batches(live: LiveModel, dependencies: Dependencies) -> BatchLimitFacts:
    choice = dependencies.batcher.limit.choice(live)
    return BatchLimitFacts(
        max_images=choice.images,
        target_p99_ms=dependencies.settings.target_p99_ms,
        reason=choice.reason,
    )


def _following(status: ModelSyncStatus) -> dict[str, Any]:
    refused = status.refused
    return {
        "location": status.location,
        "checked_at": iso_time(status.checked_at) if status.checked_at else None,
        "problem": status.problem,
        "warnings": status.warnings,
        "refused": {**asdict(refused), "time": iso_time(refused.time)} if refused else None,
        "follower_pid": status.follower_pid,
        "follower_restarts": status.follower_restarts,
    }


def _switch(switch: Switch) -> ModelSwitch:
    return ModelSwitch(**{**asdict(switch), "time": iso_time(switch.time)})


_CARD, _METRICS = "card.md", "metrics.json"


@routes.add("GET", "/model/card", answer=ModelCard, problems=(*ACCESS, 503))
async def card(request: Request) -> Response:
    """The live model's card and test metrics; null if the model has none."""
    dependencies: Dependencies = request.state.dependencies
    live = dependencies.slot.require()
    text, metrics = await asyncio.to_thread(lambda: (_text(live.folder / _CARD), _metrics(live.folder)))
    return json_response(
        ModelCard(version=live.identity.version, sha256=live.identity.sha256, card=text, metrics=metrics)
    )


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    # The folder is deleted when the model is replaced; a file that is not text counts as missing.
    except (OSError, UnicodeDecodeError):
        return None


def _metrics(folder: Path) -> dict[str, Any] | None:
    try:
        value = orjson.loads((folder / _METRICS).read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
