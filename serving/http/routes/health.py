"""GET /livez, /readyz and /metrics: for Kubernetes and Prometheus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from serving.http.endpoint import ACCESS, Answer, Dependencies, Routes
from serving.http.request.body import json_response

routes = Routes("operation")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceAlive:
    """The process answers."""

    status: Literal["alive"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceReady:
    """A model is live."""

    status: Literal["ready"]
    model: str


@routes.add("GET", "/livez", scope="open", logged=False, answer=ServiceAlive)
async def livez(request: Request) -> Response:
    """200 while the process runs, with or without a model."""
    return json_response(ServiceAlive(status="alive"))


@routes.add("GET", "/readyz", scope="open", logged=False, answer=ServiceReady, problems=(503,))
async def readyz(request: Request) -> Response:
    """200 when a model is live, 503 with the reason otherwise."""
    dependencies: Dependencies = request.state.dependencies
    live = dependencies.slot.require()
    return json_response(ServiceReady(status="ready", model=f"{live.identity.name}/{live.identity.version}"))


@routes.add(
    "GET",
    "/metrics",
    logged=False,
    answer=Answer(text="Prometheus' text format.", content={"text/plain": {}}),
    problems=ACCESS,
)
async def metrics(request: Request) -> Response:
    """Metrics for Prometheus."""
    dependencies: Dependencies = request.state.dependencies
    dependencies.refresh_metrics()
    text = dependencies.metrics.render()
    return Response(text, headers={"content-type": dependencies.metrics.content_type})
