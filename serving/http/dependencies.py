"""The objects that the routes use, created at startup; and the route class that passes them the request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast

from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from serving.detection.detector import Detector
from serving.detection.responses import encode
from serving.detection.tensors import TensorAnswerer
from serving.drift.monitor import DriftMonitor
from serving.experiments.manager import Experiments
from serving.http.connections import Connections
from serving.http.metrics import Metrics
from serving.http.stream import Streams
from serving.inference.batching import Batcher
from serving.inference.model_slot import ModelSlot
from serving.model_sync.service import ModelSync
from serving.observations.recorder import Recorder
from serving.observations.store import Store
from serving.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """The parts of the running service, by role."""

    settings: Settings
    slot: ModelSlot
    batcher: Batcher
    detector: Detector
    model_sync: ModelSync
    recorder: Recorder
    store: Store
    metrics: Metrics
    drift: DriftMonitor
    streams: Streams
    connections: Connections
    tensors: TensorAnswerer
    experiments: Experiments

    def refresh_metrics(self) -> None:
        """Copy the current state into the gauges."""
        stats = self.recorder.stats()
        rows = {name: getattr(stats, name) for name in ("written", "waiting", "dropped")}
        self.metrics.streams(len(self.streams))
        self.metrics.connections(len(self.connections))
        canary = self.experiments.canary
        self.metrics.experiments.active(canary is not None and canary.status.state == "running")
        self.metrics.drift.show(self.drift.status())
        self.metrics.state(self.slot, waiting=self.batcher.waiting, rows=rows)


class LeanRoute(APIRoute):
    """A route whose function takes the request and returns the response.

    FastAPI only documents it: it resolves no dependencies and validates no models while a client waits.
    The documented parameters are in `openapi_extra`.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's function unchanged."""
        return cast(Callable[[Request], Coroutine[Any, Any, Response]], self.endpoint)


def dependencies_of(request: HTTPConnection) -> Dependencies:
    """Return the dependencies of the application that handles `request`, an HTTP request or a WebSocket."""
    return cast(Dependencies, request.app.state.dependencies)


def json_response(body: Any, *, status: int = 200) -> Response:
    """Create a JSON response."""
    return Response(encode(body), status_code=status, media_type="application/json")
