"""What the routes work with, made when the application starts; and how a route is run."""

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
class Parts:
    """The joined service."""

    settings: Settings
    slot: ModelSlot
    batcher: Batcher
    detector: Detector
    following: ModelSync
    recorder: Recorder
    store: Store
    metrics: Metrics
    drift: DriftMonitor
    streams: Streams
    connections: Connections
    tensors: TensorAnswerer
    trials: Experiments

    def refresh_metrics(self) -> None:
        """Tell the metrics how things stand."""
        stats = self.recorder.stats()
        rows = {name: getattr(stats, name) for name in ("written", "waiting", "dropped")}
        self.metrics.streams(len(self.streams))
        self.metrics.connections(len(self.connections))
        canary = self.trials.canary
        self.metrics.trials.active(canary is not None and canary.status.state == "running")
        self.metrics.drift.show(self.drift.status())
        self.metrics.state(self.slot, waiting=self.batcher.waiting, rows=rows)


class LeanRoute(APIRoute):
    """A route whose function takes the request and gives the response.

    FastAPI documents it and does nothing else: no dependencies are solved and no model is validated
    while a client waits. Its parameters are in `openapi_extra`.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The function itself."""
        return cast(Callable[[Request], Coroutine[Any, Any, Response]], self.endpoint)


def parts_of(request: HTTPConnection) -> Parts:
    """The parts of the application that answers `request`, or a WebSocket."""
    return cast(Parts, request.app.state.parts)


def json_response(body: Any, *, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(encode(body), status_code=status, media_type="application/json")
