"""GET /model/shadow: comparison of the shadow model with the live model."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serving.experiments.canary import Canary
from serving.experiments.report import report
from serving.experiments.shadow import ShadowStatus
from serving.http import schemas
from serving.http.body import json_response
from serving.http.endpoint import Dependencies, Routes

_OFF = {"enabled": False, "reason": "no shadow is configured; set MIEN_SHADOW_MODEL"}

routes = Routes("model")


@routes.add("GET", "/model/shadow", **schemas.SHADOW)
async def shadow(request: Request) -> Response:
    """Agreement of the shadow with the live model, over all workers; `enabled` is false without a shadow."""
    dependencies: Dependencies = request.state.dependencies
    trial = dependencies.experiments.shadow
    if trial is None:
        return json_response(_OFF)
    return json_response(_body(await asyncio.to_thread(trial.status)))


def _body(status: ShadowStatus) -> dict[str, Any]:
    counted, model = status.agreement, status.model
    body: dict[str, Any] = {
        "enabled": True,
        "location": status.location,
        "fraction": status.fraction,
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256} if model else None,
        "reason": status.reason or None,
        "report": None,
    }
    if counted is None:
        return body
    failed_at, reason = counted.last_error
    return body | {
        "report": {
            "live": _key(counted.pair.live),
            "shadow": _key(counted.pair.shadow),
            "since": _iso(counted.since),
            **report(counted),
            "last_error": {"time": _iso(failed_at), "reason": reason} if reason else None,
        }
    }


def canary_json(canary: Canary | None) -> dict[str, Any] | None:
    """Return the canary's state for /model; None without a canary."""
    if canary is None:
        return None
    status = canary.status
    model = status.candidate
    return {
        "location": canary.location,
        "share": canary.share,
        "state": status.state,
        "reason": status.reason,
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256} if model else None,
    }


def _key(key: tuple[str, str]) -> dict[str, str]:
    return {"version": key[0], "sha256": key[1]}


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")
