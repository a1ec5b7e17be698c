"""The composition root: builds the application and its dependencies from the settings.

    app = create_app(Settings())

Nothing is opened, started or written before the application starts up.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from serving.cores import usable_cores
from serving.detection.detector import Detector
from serving.detection.detectors import Detectors
from serving.detection.image_reader import PictureReader
from serving.detection.recording import ObservationSink, SwitchLog
from serving.detection.tensors import TensorAnswerer
from serving.drift.monitor import DriftMonitor, DriftPlan
from serving.drift.result import WindowRule
from serving.drift.store import DriftStore
from serving.errors.operation import StoreUnavailable
from serving.experiments.manager import Experiments, make_experiments
from serving.http.auth import CANARY_HEADER, Access
from serving.http.endpoint import Dependencies
from serving.http.limits import make_rate
from serving.http.middleware import Edge, HttpMiddleware, RequestLimits, RouteTable
from serving.http.openapi import describe
from serving.http.problems import router_refusal
from serving.http.request.body import HeldBytes
from serving.http.routes import (
    detect,
    docs,
    drift,
    health,
    labels,
    model,
    page,
    predictions,
    protocol_v2,
    scoring,
    shadow,
    stream,
)
from serving.http.server.connections import STATE, ConnectionLimits, Connections, Draining
from serving.http.stream import StreamDependencies, StreamLimits, Streams
from serving.http.telemetry.logs import finish_logs
from serving.http.telemetry.metrics import Metrics
from serving.http.telemetry.traces import SpanWriter, Traces, configured
from serving.http.websocket import WebSocketMiddleware
from serving.inference.batching import Batcher
from serving.inference.model_slot import ModelSlot
from serving.model_sync.service import ModelSync
from serving.observations.images import PictureFolder
from serving.observations.labels import LabelStore
from serving.observations.recorder import Recorder
from serving.observations.store import Store
from serving.preflight import access_warning
from serving.protocols.tensors import LENGTH_HEADER
from serving.settings import Settings, unknown_variables

_log = logging.getLogger("serving.http")
API_VERSION = "1.0.0"
"""Version of the endpoints (semantic versioning), not of the package."""
_DAY_S = 86_400.0
_GROUPS = (
    detect, stream, predictions, labels, model, health, docs, protocol_v2, scoring, shadow, drift, page,
)  # fmt: skip
ROUTES = [endpoint for group in _GROUPS for endpoint in group.routes.endpoints]
"""All endpoints, as they are declared beside their handlers."""
# Several workers each write their own values; any of them may be scraped.
_METRICS_EVERY_S = 2.0
_DESCRIPTION = (
    "Classifies the emotion that a face shows: POST a picture, get faces, probabilities and an explanation. "
    "Every answer names the model version that gave it. Errors are application/problem+json."
)


def create_app(settings: Settings, *, before_start: Callable[[], None] = lambda: None) -> FastAPI:
    """Create the application.

    Args:
        settings: read from the environment.
        before_start: called first at startup; an exception that it raises ends the startup.

    Raises:
        LocationInvalid: at startup, if `MIEN_MODEL` is not a location that can be synchronised.
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
        # An extra slash is an unknown path, not a redirect: clients do not follow one with POST.
        redirect_slashes=False,
    )
    for group in _GROUPS:
        app.include_router(group.routes.router)
    app.openapi = cache(lambda: describe(app))  # type: ignore[method-assign] # FastAPI's documented way
    app.add_exception_handler(HTTPException, router_refusal)
    app.add_middleware(_wrap, settings=settings, metrics=metrics, held=held, traces=traces)
    if settings.cors_origins:
        _allow_origins(app, settings.cors_origins)
    return app


def _wrap(
    app: ASGIApp, settings: Settings, metrics: Metrics, held: HeldBytes, traces: Traces | None
) -> HttpMiddleware:
    """Wrap the application in the middleware of HTTP requests and the one of WebSockets."""
    rate = make_rate(settings, os.environ)
    edge = Edge(
        routes=RouteTable(ROUTES),
        access=Access(settings.api_keys, allow_anonymous=settings.allow_anonymous, rate=rate),
        listener=metrics,
        log_requests=settings.access_log,
    )
    others = WebSocketMiddleware(app, edge, allowed_origins=settings.cors_origins)
    limits = RequestLimits(body_timeout_s=settings.body_timeout_s, held=held)
    return HttpMiddleware(app, edge, others=others, limits=limits, traces=traces)


def _allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of other origins use the API (CORS)."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["authorization", "content-type", "x-api-key", "x-request-id", LENGTH_HEADER],
        expose_headers=[
            "x-request-id",
            "retry-after",
            CANARY_HEADER,
            "mien-id",
            "mien-emotion",
            "mien-model",
            "mien-sha256",
            "mien-ids",
            LENGTH_HEADER,
        ],
    )


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
            _log.warning("%s is not a setting and has no effect; docs/service-settings.md lists them", name)
        if traces is not None:
            await asyncio.to_thread(traces.start, _otlp_writer)
        dependencies = _dependencies(settings, metrics, held, traces)
        await _open_store(dependencies.store)
        dependencies.recorder.start()
        dependencies.model_sync.start()
        dependencies.experiments.start()
        dependencies.drift.start()
        refreshing = asyncio.create_task(_refresh_metrics(dependencies))
        streams = dependencies.streams
        draining = Draining(lambda: len(streams) > 0, lambda: streams.close(settings.timeout_s))
        try:
            with draining.installed():
                yield {STATE: dependencies.connections, "dependencies": dependencies}
        finally:
            refreshing.cancel()
            # This order loses nothing: waiting pictures are answered first, then the answers are stored.
            await dependencies.batcher.close()
            await dependencies.experiments.close()
            await asyncio.to_thread(dependencies.drift.stop)
            await asyncio.to_thread(dependencies.model_sync.stop)
            await asyncio.to_thread(dependencies.recorder.close)
            await asyncio.to_thread(dependencies.store.close)
            await asyncio.to_thread(dependencies.labels.close)
            if traces is not None:
                await asyncio.to_thread(traces.close)
            finish_logs()

    return lifespan


async def _open_store(store: Store) -> None:
    """Prepare the database. The service also starts without one, but not with newer tables."""
    try:
        await asyncio.to_thread(store.prepare)
    except StoreUnavailable as error:
        _log.warning("%s", error)


def _otlp_writer() -> SpanWriter:
    # Imports OpenTelemetry's SDK, which only a service with traces needs.
    from serving.http.telemetry.spans import OtlpSpanWriter

    return OtlpSpanWriter()


def _dependencies(
    settings: Settings, metrics: Metrics, held: HeldBytes, traces: Traces | None
) -> Dependencies:
    threads = settings.threads or max(1, usable_cores() // settings.workers)
    slot = ModelSlot()
    store, recorder = _observations(settings)
    history = SwitchLog(recorder)
    detectors = Detectors(
        settings.face_detector, face_model=settings.face_model, cache_dir=settings.cache_dir
    )
    model_sync = _model_sync(settings, slot, history, detectors)
    experiments = make_experiments(
        settings,
        live=slot,
        following=model_sync,
        history=history,
        listener=metrics.experiments,
        on_distance=recorder.record_disagreement,
        threads=threads,
        usable=detectors.check,
    )
    batcher = Batcher(
        slot,
        threads=threads,
        max_batch=settings.batch_size,
        max_queue_images=settings.queue_images,
        target_s=settings.target_s,
        on_batch=metrics.batch,
    )
    reader = _reader(settings, detectors)
    sink = ObservationSink(recorder, keeps_pictures=settings.keep_images > 0)
    detector = Detector(
        batcher,
        reader,
        sink,
        timeout_s=settings.timeout_s,
        shadow=experiments.shadow,
        canary=experiments.canary,
        novelty_threshold=settings.novelty_threshold,
    )
    return Dependencies(
        settings=settings,
        slot=slot,
        detectors=detectors,
        batcher=batcher,
        detector=detector,
        model_sync=model_sync,
        recorder=recorder,
        store=store,
        labels=LabelStore(settings.database_url.reveal(), needed=settings.labels_needed),
        metrics=metrics,
        drift=DriftMonitor(slot, DriftStore(settings.database_url.reveal()), _drift_plan(settings)),
        streams=_stream_manager(settings, detector, metrics, held, traces),
        connections=Connections(_connection_limits(settings), held=held, listener=metrics),
        tensors=_tensor_answerer(settings, batcher, reader, sink, experiments),
        experiments=experiments,
    )


def _tensor_answerer(
    settings: Settings,
    batcher: Batcher,
    reader: PictureReader,
    sink: ObservationSink,
    experiments: Experiments,
) -> TensorAnswerer:
    return TensorAnswerer(
        batcher,
        reader,
        sink,
        timeout_s=settings.timeout_s,
        shadow=experiments.shadow,
        canary=experiments.canary,
    )


def _reader(settings: Settings, detectors: Detectors) -> PictureReader:
    return PictureReader(
        detectors,
        max_pixels=settings.max_pixels,
        max_faces=settings.max_faces,
        margin=settings.face_margin,
    )


def _observations(settings: Settings) -> tuple[Store, Recorder]:
    pictures = PictureFolder(settings.keep_images_dir, fraction=settings.keep_images)
    store = Store(settings.database_url.reveal(), pictures=pictures)
    recorder = Recorder(
        store,
        # Needed even if the fraction is 0: pictures that were kept earlier still have a retention.
        pictures=pictures,
        retention_s=settings.retention_days * _DAY_S,
        pictures_retention_s=settings.keep_images_days * _DAY_S,
    )
    return store, recorder


def _model_sync(settings: Settings, slot: ModelSlot, history: SwitchLog, detectors: Detectors) -> ModelSync:
    return ModelSync(
        settings.model,
        slot,
        cache=settings.cache_dir,
        tracking_uri=settings.tracking_uri.reveal(),
        poll_s=settings.poll_s,
        # One thread for each picture, several pictures at once: a small network is too little work to divide
        # between threads.
        threads=1,
        max_batch=settings.batch_size,
        history=history,
        usable=detectors.check,
        limit_s=settings.model_timeout_s,
        trusted_keys=settings.trusted_keys,
    )


def _stream_manager(
    settings: Settings, detector: Detector, metrics: Metrics, held: HeldBytes, traces: Traces | None
) -> Streams:
    limits = StreamLimits(
        frame_bytes=settings.max_bytes, frames_per_s=settings.stream_fps, idle_s=settings.stream_idle_s
    )
    dependencies = StreamDependencies(
        detector=detector, listener=metrics, limits=limits, held=held, traces=traces
    )
    return Streams(dependencies, max_streams=settings.stream_connections)


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


async def _refresh_metrics(dependencies: Dependencies) -> None:
    with suppress(asyncio.CancelledError):
        while True:
            dependencies.refresh_metrics()
            await asyncio.sleep(_METRICS_EVERY_S)
