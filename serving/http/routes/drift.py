"""GET /drift and /drift/report: drift of the answered pictures from the live model's reference."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from serving.drift.monitor import DriftStatus
from serving.drift.result import ColumnDrift, DriftResult, WindowFacts
from serving.errors import NotFound
from serving.http import schemas
from serving.http.body import json_response
from serving.http.endpoint import Dependencies, Routes

routes = Routes("drift")

_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
# Evidently's page contains its styles, fonts and images. `sandbox` gives it a separate origin, so that its
# scripts cannot access this service.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; font-src data:; img-src data: blob:; {scripts}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts allow-downloads"
)
_DIGITS = 6


@routes.add("GET", "/drift", **schemas.DRIFT)
async def drift(request: Request) -> Response:
    """The newest verdict, its window, and each column's score and threshold; nothing is computed."""
    dependencies: Dependencies = request.state.dependencies
    return json_response(_body(dependencies.drift.status()))


@routes.add("GET", "/drift/report", **schemas.DRIFT_REPORT)
async def report(request: Request) -> Response:
    """Evidently's page about the newest verdict."""
    dependencies: Dependencies = request.state.dependencies
    monitor = dependencies.drift
    page = await asyncio.to_thread(monitor.report)
    if page is None:
        raise NotFound(f"there is no report yet: {monitor.status().problem or 'it is being computed'}")
    policy = await asyncio.to_thread(policy_of, page)
    return HTMLResponse(page, headers={"content-security-policy": policy})


def policy_of(page: bytes) -> str:
    """Return the content security policy of a page: only its own scripts, by their hashes."""
    hashes = [hashlib.sha256(script).digest() for script in _SCRIPT.findall(page)]
    sources = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in hashes)
    return _POLICY.format(scripts=f"script-src {sources or chr(39) + 'none' + chr(39)}")


def _body(status: DriftStatus) -> dict[str, Any]:
    result = status.result
    model = {"version": status.model.version, "sha256": status.model.sha256} if status.model else None
    if result is None:
        result_body = dict.fromkeys(("computed_at", "age_s", "window", "reference", "quality"))
        return {
            "verdict": "unknown",
            "reason": status.problem,
            "problem": status.problem,
            "stale": status.stale,
            "model": model,
            **result_body,
            "columns": {},
            "left_out": {},
        }
    return {
        "verdict": result.verdict,
        "reason": result.reason,
        "problem": status.problem,
        "stale": status.stale,
        "model": model,
        **_result_fields(result),
    }


def _result_fields(result: DriftResult) -> dict[str, Any]:
    return {
        "computed_at": _iso(result.time),
        "age_s": round(max(0.0, time.time() - result.time), 1),
        "window": _window(result.window) if result.window else None,
        "reference": asdict(result.reference) if result.reference else None,
        "quality": _quality(result),
        "columns": {column.name: _column(column) for column in result.columns},
        "left_out": dict(result.left_out),
    }


def _quality(result: DriftResult) -> dict[str, Any] | None:
    if result.quality is None:
        return None
    values = asdict(result.quality)
    values["estimated"]["caveat"] = result.caveat
    return {name: _rounded(value) for name, value in values.items()}


def _window(window: WindowFacts) -> dict[str, Any]:
    return {**_rounded(asdict(window)), "since": _iso(window.since), "until": _iso(window.until)}


def _column(column: ColumnDrift) -> dict[str, Any]:
    values = asdict(column)
    del values["name"]
    return {name: _rounded(value) for name, value in values.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return round(value, _DIGITS) if isinstance(value, float) else value


def _iso(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")
