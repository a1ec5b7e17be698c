"""The composition root: builds the parts from the settings and joins them.

    app = create_app(Settings())

Nothing is opened, started or written before the application starts up.

The shortest way to the busiest paths: past the router and what stands before it.

FastAPI looks through all routes in turn, fills in a dozen entries of the scope and opens two exit stacks for
each request; for a path without parameters all of it comes to the same function each time, and costs as much
as the rest of the request's way to it. A path that is not listed, or another method, goes the usual way.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.cores import usable_cores
from serving.detection.detector import Detector
from serving.detection.image_reader import Detectors, PictureReader
from serving.detection.recording import ObservationSink, SwitchLog
from serving.detection.tensors import TensorAnswerer
from serving.drift.monitor import DriftMonitor, DriftPlan
from serving.drift.result import WindowRule
from serving.drift.store import DriftStore
from serving.errors import StoreUnavailable
from serving.experiments.manager import make_experiments
from serving.http.auth import Access
from serving.http.connections import STATE, ConnectionLimits, Connections
from serving.http.dependencies import LeanRoute, Parts
from serving.http.exchange import BodyLimits, Limits
from serving.http.limits import HeldBytes, make_rate
from serving.http.logs import finish_logs
from serving.http.metrics import Metrics
from serving.http.middleware import Edge
from serving.http.problems import router_refusal
from serving.http.routes import (
    detect,
    docs,
    drift,
    health,
    model,
    page,
    predictions,
    protocol_v2,
    scoring,
    shadow,
    stream,
)
from serving.http.stream import Draining, StreamLimits, StreamParts, Streams
from serving.http.telemetry import Traces, configured
from serving.inference.batching import Batcher
from serving.inference.model_slot import ModelSlot
from serving.model_sync.service import ModelSync
from serving.observations.images import PictureFolder
from serving.observations.recorder import Recorder
from serving.observations.store import Store
from serving.preflight import access_warning
from serving.protocols.tensors import LENGTH_HEADER
from serving.settings import Settings, unknown_variables


class Shortcuts:
    """Answers some paths by itself; stands between the edge and the application."""

    def __init__(self, app: ASGIApp, *, routers: Iterable[APIRouter], paths: Collection[str]) -> None:
        """Lead `paths` of `routers` to their functions; only a `LeanRoute` has one that takes the request."""
        self._app = app
        self._routes = {
            (method, route.path): route
            for router in routers
            for route in router.routes
            if isinstance(route, LeanRoute) and route.path in paths
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        # For the log and the metrics.
        scope["route"] = route
        response = await route.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


_log = logging.getLogger("serving.http")
API_VERSION = "1.0.0"
"""Of the endpoints (semantic versioning), not of the package."""
_DAY_S = 86_400.0
# With several workers each writes its own numbers for the one that is scraped.
_METRICS_EVERY_S = 2.0
_DESCRIPTION = (
    "Which emotion a face shows: POST a picture, get faces, probabilities and why. Every answer names the "
    "model version that gave it. Errors are application/problem+json."
)


def create_app(settings: Settings, *, before_start: Callable[[], None] = lambda: None) -> FastAPI:
    """The application.

    Args:
        settings: of the environment.
        before_start: called first when it starts up; what it raises ends the start.

    Raises:
        LocationInvalid: while starting up, when `MIEN_MODEL` names nothing that can be followed.
    """
    metrics = Metrics()
    held = HeldBytes(settings.max_held_bytes)
    traces = configured(os.environ)
    metrics.listener = traces
    app = FastAPI(
        title="mien",
        version=API_VERSION,
        description=_DESCRIPTION,
        lifespan=_lifespan(settings, metrics, held, traces, before_start),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # A slash too many is an unknown path, not a redirect that a POST would not follow.
        redirect_slashes=False,
    )
    for module in (
        *(detect, stream, predictions, model, health, docs, protocol_v2, scoring, shadow, drift, page),
    ):
        app.include_router(module.router)
    app.openapi = cache(lambda: docs.describe(app))  # type: ignore[method-assign] # FastAPI's documented way
    app.add_exception_handler(HTTPException, router_refusal)
    # Added first, so inside the edge.
    app.add_middleware(Shortcuts, routers=[detect.router], paths=["/detect"])
    app.add_middleware(
        Edge,
        access=Access(settings.api_keys, allow_anonymous=settings.allow_anonymous),
        limits=_limits(settings, held, BodyLimits(settings, lambda: app.state.parts.slot.current)),
        counted=metrics,
        log_requests=settings.access_log,
        pages=settings.cors_origins,
        traces=traces,
    )
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type", "x-api-key", "x-request-id", LENGTH_HEADER],
            expose_headers=[
                "x-request-id",
                "retry-after",
                "mien-canary",
                "mien-id",
                "mien-emotion",
                "mien-model",
                "mien-sha256",
                "mien-ids",
                LENGTH_HEADER,
            ],
        )
    return app


def _lifespan(
    settings: Settings,
    metrics: Metrics,
    held: HeldBytes,
    traces: Traces | None,
    before_start: Callable[[], None],
) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        before_start()
        if warning := access_warning(settings):
            _log.warning("%s", warning)
        for name in unknown_variables(os.environ):
            _log.warning("%s is not a setting and has no effect; docs/serving.md lists them", name)
        if traces is not None:
            await asyncio.to_thread(traces.start)
        parts = _parts(settings, metrics, held, traces)
        app.state.parts = parts
        await _open_store(parts.store)
        parts.recorder.start()
        parts.following.start()
        parts.trials.start()
        parts.drift.start()
        telling = asyncio.create_task(_tell_metrics(parts))
        draining = Draining(lambda: len(parts.streams) > 0, lambda: parts.streams.close(settings.timeout_s))
        try:
            with draining.installed():
                yield {STATE: parts.connections}
        finally:
            telling.cancel()
            # In this order nothing is lost: what waits is answered, then what was answered is written.
            await parts.batcher.close()
            await parts.trials.close()
            await asyncio.to_thread(parts.drift.stop)
            await asyncio.to_thread(parts.following.stop)
            await asyncio.to_thread(parts.recorder.close)
            await asyncio.to_thread(parts.store.close)
            if traces is not None:
                await asyncio.to_thread(traces.close)
            finish_logs()

    return lifespan


async def _open_store(store: Store) -> None:
    """A database that is away is waited for while answering; one with newer tables ends the start."""
    try:
        await asyncio.to_thread(store.prepare)
    except StoreUnavailable as error:
        _log.warning("%s", error)


def _parts(settings: Settings, metrics: Metrics, held: HeldBytes, traces: Traces | None) -> Parts:
    threads = settings.threads or max(1, usable_cores() // settings.workers)
    slot = ModelSlot()
    pictures = PictureFolder(settings.keep_images_dir, fraction=settings.keep_images)
    store = Store(settings.database_url.reveal(), pictures=pictures)
    recorder = Recorder(
        store,
        # Also with a fraction of 0: what was kept before still has its retention.
        pictures=pictures,
        retention_s=settings.retention_days * _DAY_S,
        pictures_retention_s=settings.keep_images_days * _DAY_S,
    )
    history = SwitchLog(recorder)
    detectors = Detectors(settings.face_detector, face_model=settings.face_model)
    following = ModelSync(
        settings.model,
        slot,
        cache=settings.cache_dir,
        tracking_uri=settings.tracking_uri.reveal(),
        poll_s=settings.poll_s,
        # As many pictures at once as there are threads, rather than one picture on all of them: nothing
        # of a small network is worth sharing out.
        threads=1,
        max_batch=settings.batch_size,
        history=history,
        usable=detectors.check,
        limit_s=settings.model_timeout_s,
    )
    trials = make_experiments(
        settings,
        live=slot,
        following=following,
        history=history,
        listener=metrics.trials,
        threads=threads,
        usable=detectors.check,
    )
    batcher = Batcher(
        slot,
        threads=threads,
        max_batch=settings.batch_size,
        max_queue_images=settings.queue_images,
        told=metrics.batch,
    )
    reader = PictureReader(
        detectors,
        max_pixels=settings.max_pixels,
        max_faces=settings.max_faces,
        margin=settings.face_margin,
    )
    sink = ObservationSink(recorder)
    detector = Detector(
        batcher,
        reader,
        sink,
        timeout_s=settings.timeout_s,
        shadow=trials.shadow,
        canary=trials.canary,
    )
    return Parts(
        settings=settings,
        slot=slot,
        batcher=batcher,
        detector=detector,
        following=following,
        recorder=recorder,
        store=store,
        metrics=metrics,
        drift=DriftMonitor(slot, DriftStore(settings.database_url.reveal()), _drift_plan(settings)),
        streams=_streams(settings, detector, metrics, held, traces),
        connections=Connections(_connection_limits(settings), held=held, told=metrics),
        tensors=TensorAnswerer(batcher, reader, sink, timeout_s=settings.timeout_s),
        trials=trials,
    )


def _streams(
    settings: Settings, detector: Detector, metrics: Metrics, held: HeldBytes, traces: Traces | None
) -> Streams:
    limits = StreamLimits(
        frame_bytes=settings.max_bytes, frames_per_s=settings.stream_fps, idle_s=settings.stream_idle_s
    )
    parts = StreamParts(detector=detector, told=metrics, limits=limits, held=held, traces=traces)
    return Streams(parts, most=settings.stream_connections)


def _connection_limits(settings: Settings) -> ConnectionLimits:
    return ConnectionLimits(
        connections=settings.max_connections,
        head_bytes=settings.max_head_bytes,
        head_timeout_s=settings.head_timeout_s,
        read_timeout_s=settings.body_timeout_s,
        frame_bytes=settings.max_bytes,
        frames_per_s=settings.stream_fps,
    )


def _drift_plan(settings: Settings) -> DriftPlan:
    return DriftPlan(
        enabled=settings.drift,
        database_url=settings.database_url.reveal(),
        window=WindowRule(
            last_n=settings.drift_last_n,
            last_s=settings.drift_last_s,
            min_rows=settings.drift_min_rows,
            max_rows=settings.drift_max_rows,
        ),
        false_alarms=settings.drift_false_alarms,
        pictures_per_person=settings.drift_pictures_per_person,
        stale_s=settings.drift_stale_s,
        retention_s=settings.retention_days * _DAY_S,
    )


def _limits(settings: Settings, held: HeldBytes, bodies: BodyLimits) -> Limits:
    return Limits(
        body_bytes=bodies,
        body_timeout_s=settings.body_timeout_s,
        held=held,
        rate=make_rate(settings, os.environ),
    )


async def _tell_metrics(parts: Parts) -> None:
    with suppress(asyncio.CancelledError):
        while True:
            parts.refresh_metrics()
            await asyncio.sleep(_METRICS_EVERY_S)
