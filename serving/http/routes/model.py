"""GET /model, /model/history and /model/card: the live model, its history, its card and test metrics."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.http import page_schemas, schemas
from serving.http.body import json_response, read_limit
from serving.http.endpoint import Dependencies, Routes
from serving.http.routes.shadow import canary_json
from serving.inference.model_slot import LiveModel
from serving.model_sync.service import ModelSyncStatus
from serving.observations.records import Switch

SAMPLE_NOTICE = "Trained on the procedural sample of drawn faces: a demonstration, not for real faces."
_HISTORY, _MAX_HISTORY = 100, 1000

routes = Routes("model")


@routes.add("GET", "/model", **schemas.MODEL)
async def model(request: Request) -> Response:
    """The live model, its contract and lineage; the synchronised location and the last refused model."""
    dependencies: Dependencies = request.state.dependencies
    live = dependencies.slot.current
    return json_response(
        {
            "live": _live(live) if live else None,
            "reason": dependencies.slot.reason,
            "following": _following(dependencies.model_sync.status()),
            "canary": canary_json(dependencies.experiments.canary),
        }
    )


@routes.add("GET", "/model/history", **schemas.HISTORY)
async def history(request: Request) -> Response:
    """All switches of all workers, newest first."""
    dependencies: Dependencies = request.state.dependencies
    limit = read_limit(request, default=_HISTORY, max_limit=_MAX_HISTORY)
    rows = await asyncio.to_thread(dependencies.store.switches, limit)
    return json_response({"switches": [_switch(row) for row in rows]})


def _live(live: LiveModel) -> dict[str, Any]:
    identity, contract = live.identity, live.contract
    return {
        "name": identity.name,
        "version": identity.version,
        "sha256": identity.sha256,
        "architecture": contract.architecture,
        "weights": contract.weights,
        "sample": identity.sample,
        "notice": SAMPLE_NOTICE if identity.sample else None,
        "since": _iso(live.since),
        "size_bytes": live.classifier.size_bytes,
        "contract": orjson.loads(contract.to_json()),
        "lineage": {
            "source": identity.source,
            "run_id": identity.run_id,
            "git_commit": identity.git_commit,
            "dataset": contract.dataset,
            "data_dvc": identity.data_dvc,
        },
    }


def _following(status: ModelSyncStatus) -> dict[str, Any]:
    refused = status.refused
    return {
        "location": status.location,
        "checked_at": _iso(status.checked_at) if status.checked_at else None,
        "problem": status.problem,
        "warnings": status.warnings,
        "refused": {**asdict(refused), "time": _iso(refused.time)} if refused else None,
        "follower_pid": status.follower_pid,
        "follower_restarts": status.follower_restarts,
    }


def _switch(switch: Switch) -> dict[str, Any]:
    return {**asdict(switch), "time": _iso(switch.time)}


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")


_CARD, _METRICS = "card.md", "metrics.json"


@routes.add("GET", "/model/card", **page_schemas.MODEL_CARD)
async def card(request: Request) -> Response:
    """The live model's card and test metrics; null if the model has none."""
    dependencies: Dependencies = request.state.dependencies
    live = dependencies.slot.require()
    text, metrics = await asyncio.to_thread(lambda: (_text(live.folder / _CARD), _metrics(live.folder)))
    return json_response(
        {
            "version": live.identity.version,
            "sha256": live.identity.sha256,
            "card": text,
            "metrics": metrics,
        }
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
