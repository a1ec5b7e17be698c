"""GET /livez, /readyz and /metrics: for Kubernetes and Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serving.http import schemas
from serving.http.dependencies import LeanRoute, json_response, parts_of
from serving.http.metrics import CONTENT_TYPE

router = APIRouter(route_class=LeanRoute, tags=["operation"])


@router.get("/livez", **schemas.LIVEZ)
async def livez(request: Request) -> Response:
    """The process answers; says nothing of a model."""
    return json_response({"status": "alive"})


@router.get("/readyz", **schemas.READYZ)
async def readyz(request: Request) -> Response:
    """200 when a model is live, 503 with the reason otherwise."""
    live = parts_of(request).slot.require()
    return json_response({"status": "ready", "model": f"{live.identity.name}/{live.identity.version}"})


@router.get("/metrics", **schemas.METRICS)
async def metrics(request: Request) -> Response:
    """Numbers for Prometheus."""
    parts = parts_of(request)
    parts.refresh_metrics()
    return Response(parts.metrics.render(), headers={"content-type": CONTENT_TYPE})
