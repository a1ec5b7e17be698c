"""GET /livez, /readyz and /metrics: for Kubernetes and Prometheus."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from serving.http import schemas
from serving.http.body import json_response
from serving.http.endpoint import Dependencies, Routes
from serving.http.metrics import CONTENT_TYPE

routes = Routes("operation")


@routes.add("GET", "/livez", scope="open", logged=False, **schemas.LIVEZ)
async def livez(request: Request) -> Response:
    """200 while the process runs, with or without a model."""
    return json_response({"status": "alive"})


@routes.add("GET", "/readyz", scope="open", logged=False, **schemas.READYZ)
async def readyz(request: Request) -> Response:
    """200 when a model is live, 503 with the reason otherwise."""
    dependencies: Dependencies = request.state.dependencies
    live = dependencies.slot.require()
    return json_response({"status": "ready", "model": f"{live.identity.name}/{live.identity.version}"})


@routes.add("GET", "/metrics", logged=False, **schemas.METRICS)
async def metrics(request: Request) -> Response:
    """Metrics for Prometheus."""
    dependencies: Dependencies = request.state.dependencies
    dependencies.refresh_metrics()
    return Response(dependencies.metrics.render(), headers={"content-type": CONTENT_TYPE})
