"""What Prometheus scrapes. Labels take values from fixed lists or from the live model, never from a client.

With several workers `PROMETHEUS_MULTIPROC_DIR` joins their numbers; it must be set before this is imported,
as `python -m serving` does.
"""

from __future__ import annotations

import os
from collections import Counter as Counted
from typing import Any, Literal, Protocol

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)

from serving.answering.tensors import Answered
from serving.detection.responses import Detection
from serving.http.drift_metrics import DriftMetrics
from serving.http.trial_metrics import TrialMetrics
from serving.runtime.live import ModelSlot

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = CONTENT_TYPE_LATEST

# From a cached LeNet's answer to the default timeout.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STAGES = ("queue", "decode", "faces", "preprocess", "inference")
_FACES = (0, 1, 2, 4, 8, 16, 32)
# Up to the largest MIEN_BATCH_SIZE; a single request of tensors may have more.
_IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Listener(Protocol):
    """Who else is told of answers."""

    def detection(self, detection: Detection) -> None:
        """One picture was answered."""

    def tensors(self, answered: Answered[Any]) -> None:
        """One request of tensors was answered."""


class Metrics:
    """One registry for each application, so that two in one process do not meet."""

    def __init__(self) -> None:
        # When each series began says nothing to anybody and doubles their number.
        disable_created_metrics()  # type: ignore[no-untyped-call] # the client's own
        registry = CollectorRegistry()
        self._registry = registry
        self._requests = Counter(
            "mien_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self._seconds = Histogram(
            "mien_request_seconds", "From the first byte to the last.", ("route",),
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._stages = Histogram(
            "mien_stage_seconds", "Parts of a picture's way.", ("stage",), buckets=_SECONDS, registry=registry
        )
        self._predictions = Counter(
            "mien_predictions", "Pictures answered, by the emotion told.", ("emotion", "version"),
            registry=registry,
        )  # fmt: skip
        self._faces = Histogram("mien_faces", "Faces in a picture.", buckets=_FACES, registry=registry)
        self._frames = Counter(
            "mien_stream_frames", "Frames of streams by what became of them.", ("outcome",), registry=registry
        )
        self._in_flight = self._gauge(
            "mien_requests_in_flight", "Requests that are being answered.", "livesum"
        )
        self._batches = Histogram(
            "mien_batch_images", "Pictures of one turn of the network.", buckets=_IMAGES, registry=registry
        )
        self._streams = self._gauge("mien_streams", "Streams that are open.", "livesum")
        self._connections = self._gauge("mien_connections", "Connections that are open.", "livesum")
        self._ended = Counter(
            "mien_connections_ended", "Connections that the service ended.", ("reason",), registry=registry
        )
        self._feedback = Counter("mien_feedback", "True emotions told.", ("emotion",), registry=registry)
        self._ready = self._gauge("mien_ready", "1 when a model is live.", "min")
        self._waiting = self._gauge("mien_queue_images", "Pictures that wait for the network.", "livesum")
        self._info = Gauge(
            "mien_model_info", "1 for the live model.", ("name", "version", "sha256", "sample"),
            registry=registry, multiprocess_mode="livemax",
        )  # fmt: skip
        self._switches = self._gauge("mien_model_switches", "Models put in since the start.", "livemax")
        self._refused = self._gauge("mien_model_refusals", "Models refused since the start.", "livemax")
        self._rows = Gauge(
            "mien_observations", "Observations of this process by what became of them.", ("state",),
            registry=registry, multiprocess_mode="livesum",
        )  # fmt: skip
        self.trials = TrialMetrics(registry)
        self.drift = DriftMetrics(registry)
        self._live: tuple[str, ...] | None = None
        self._stage_series = [(stage, self._stages.labels(stage)) for stage in _STAGES]
        self._answered: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._predicted: dict[tuple[str, str], Counter] = {}
        self.listener: Listener | None = None

    def _gauge(self, name: str, text: str, mode: Literal["min", "livesum", "livemax"]) -> Gauge:
        return Gauge(name, text, registry=self._registry, multiprocess_mode=mode)

    def begun(self) -> None:
        """One request came."""
        self._in_flight.inc()

    def done(self) -> None:
        """One request is over."""
        self._in_flight.dec()

    def batch(self, images: int) -> None:
        """So many pictures went through the network in one turn; called in worker threads."""
        self._batches.observe(images)

    def request(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """One request was answered."""
        key = route, method, status
        series = self._answered.get(key)
        if series is None:
            # Looking a series up by its labels costs more than counting.
            series = self._requests.labels(route, method, str(status)), self._seconds.labels(route)
            self._answered[key] = series
        series[0].inc()
        series[1].observe(seconds)

    def detection(self, detection: Detection) -> None:
        """One picture was answered."""
        timings = detection.timings
        for stage, series in self._stage_series:
            series.observe(getattr(timings, stage) / 1e3)
        emotion = detection.answer.emotion if detection.answer else None
        key = emotion or "none", detection.model.version
        predicted = self._predicted.get(key)
        if predicted is None:
            predicted = self._predicted[key] = self._predictions.labels(*key)
        predicted.inc()
        self._faces.observe(len(detection.faces))
        if self.listener is not None:
            self.listener.detection(detection)

    def frame(self, outcome: str) -> None:
        """One frame of a stream was `answered`, `dropped` or `refused`."""
        self._frames.labels(outcome).inc()

    def streams(self, count: int) -> None:
        """So many streams are open now."""
        self._streams.set(count)

    def tensors(self, answered: Answered[Any]) -> None:
        """One request of tensors was answered."""
        timing = answered.timing
        seconds = {"queue": timing.queued_s, "preprocess": timing.prepare_s, "inference": timing.infer_s}
        for stage, value in seconds.items():
            self._stages.labels(stage).observe(value)
        for emotion, count in Counted(answered.predicted).items():
            self._predictions.labels(emotion, answered.version).inc(count)
        if self.listener is not None:
            self.listener.tensors(answered)

    def connections(self, count: int) -> None:
        """So many connections are open now."""
        self._connections.set(count)

    def connection_ended(self, reason: str) -> None:
        """The service ended one connection, for one of the reasons of `serving.http.connections`."""
        self._ended.labels(reason).inc()

    def feedback(self, emotion: str) -> None:
        """A true emotion was told; the caller has checked that the model knows it."""
        self._feedback.labels(emotion).inc()

    def state(self, slot: ModelSlot, *, waiting: int, rows: dict[str, int]) -> None:
        """How things stand now."""
        live = slot.current
        self._ready.set(live is not None)
        self._waiting.set(waiting)
        self._switches.set(slot.switches)
        self._refused.set(slot.refusals)
        for state, count in rows.items():
            self._rows.labels(state).set(count)
        if live is not None:
            identity = live.identity
            self._show((identity.name, identity.version, identity.sha256, str(identity.sample).lower()))

    def _show(self, live: tuple[str, ...]) -> None:
        if self._live not in (None, live):
            self._info.labels(*self._live).set(0)
        self._info.labels(*live).set(1)
        self._live = live

    def render(self) -> bytes:
        """The text that is scraped."""
        if MULTIPROCESS_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        joined = CollectorRegistry()
        multiprocess.MultiProcessCollector(joined)  # type: ignore[no-untyped-call] # the client's own
        return generate_latest(joined)
