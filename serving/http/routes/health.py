"""GET /livez, /readyz and /metrics: for Kubernetes and Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serving.http import schemas
from serving.http.dependencies import LeanRoute, dependencies_of, json_response
from serving.http.metrics import CONTENT_TYPE

router = APIRouter(route_class=LeanRoute, tags=["operation"])


@router.get("/livez", **schemas.LIVEZ)
async def livez(request: Request) -> Response:
    """200 while the process runs, with or without a model."""
    return json_response({"status": "alive"})


@router.get("/readyz", **schemas.READYZ)
async def readyz(request: Request) -> Response:
    """200 when a model is live, 503 with the reason otherwise."""
    live = dependencies_of(request).slot.require()
    return json_response({"status": "ready", "model": f"{live.identity.name}/{live.identity.version}"})


@router.get("/metrics", **schemas.METRICS)
async def metrics(request: Request) -> Response:
    """Metrics for Prometheus."""
    dependencies = dependencies_of(request)
    dependencies.refresh_metrics()
    return Response(dependencies.metrics.render(), headers={"content-type": CONTENT_TYPE})
