"""Prometheus metrics of requests, models, drift, shadow and canary.

Label values come from fixed lists or from the live model, never from a client. With several workers
`PROMETHEUS_MULTIPROC_DIR` combines their values; it must be set before this module is imported, as
`python -m serving` does.
"""

from __future__ import annotations

import math
import os
import time
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

from serving.detection.responses import Detection
from serving.detection.tensors import TensorAnswer
from serving.drift.monitor import DriftStatus
from serving.drift.result import DriftResult
from serving.experiments.canary import CanaryOutcome
from serving.inference.model_slot import ModelSlot
from serving.settings import MULTIPROCESS_VARIABLE

_VALUES = {"drift": 1.0, "no drift": 0.0}


class DriftMetrics:
    """Metrics of the newest drift result, which all replicas read from the database; NaN without a result."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            # All workers report the same result, with a short delay between them.
            return Gauge(name, text, labels, registry=registry, multiprocess_mode="livemostrecent")

        self._verdict = gauge("mien_drift", "1 when a column has drifted, 0 when none has.")
        self._score = gauge("mien_drift_score", "Distance of a column from the reference.", "column")
        self._threshold = gauge("mien_drift_threshold", "Score above which a column has drifted.", "column")
        self._rows = gauge("mien_drift_rows", "Observations that were compared.")
        self._computed = gauge("mien_drift_age_seconds", "Age of the result.")
        self._accuracy = gauge(
            "mien_drift_accuracy", "Accuracy of the model, measured or estimated.", "source"
        )
        self._recall = gauge(
            "mien_drift_expected_recall",
            "Recall of each emotion that calibrated probabilities lead to expect.",
            "emotion",
        )
        self._columns: set[str] = set()
        self._emotions: set[str] = set()

    def show(self, status: DriftStatus) -> None:
        """Set the gauges to the newest result."""
        result = status.result
        scores = {} if result is None else {column.name: column for column in result.columns}
        # A series cannot be removed from other workers' files, so removed columns become NaN.
        for name in self._columns - scores.keys():
            self._score.labels(name).set(math.nan)
            self._threshold.labels(name).set(math.nan)
        for name, column in scores.items():
            self._score.labels(name).set(column.score)
            self._threshold.labels(name).set(column.threshold)
        self._columns |= scores.keys()
        self._verdict.set(math.nan if result is None else _VALUES[result.verdict])
        self._rows.set(result.window.rows if result and result.window else math.nan)
        self._computed.set(math.nan if result is None else time.time() - result.time)
        for source, value in _accuracies(result).items():
            self._accuracy.labels(source).set(value)
        recalls = _recalls(result)
        for name in self._emotions | recalls.keys():
            self._recall.labels(name).set(recalls.get(name, math.nan))
        self._emotions |= recalls.keys()


def _recalls(result: DriftResult | None) -> dict[str, float]:
    cbpe = result.quality.estimated.cbpe if result and result.quality else None
    if cbpe is None:
        return {}
    values = {name: one.recall.value for name, one in cbpe.classes.items()}
    return {name: math.nan if value is None else value for name, value in values.items()}


def _accuracies(result: DriftResult | None) -> dict[str, float]:
    quality = result.quality if result else None
    if quality is None:
        return dict.fromkeys(("feedback", "mean_confidence", "atc", "reference"), math.nan)
    return {
        "feedback": quality.feedback.accuracy if quality.feedback else math.nan,
        "mean_confidence": quality.estimated.mean_confidence,
        "atc": quality.estimated.atc,
        "reference": quality.reference.accuracy,
    }


# From a LeNet on a fast core to a large network on a slow one, at the lowest priority.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ExperimentMetrics:
    """Metrics of the shadow and the canary; a listener of `serving.experiments.manager`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._compared = Counter(
            "mien_shadow_compared", "Pictures that both models answered, by the live model's emotion.",
            ("emotion", "agreed", "version"), registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "mien_shadow_seconds", "Work for one picture: faces, preprocessing, inference.", ("model",),
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._failed = Counter(
            "mien_shadow_failed", "Pictures for which the shadow failed.", registry=registry
        )
        self._dropped = Counter(
            "mien_shadow_dropped", "Sampled pictures that the shadow had no time for.", registry=registry
        )
        self._canary = Counter(
            "mien_canary_requests", "Requests of the canary's share, by outcome.", ("outcome",),
            registry=registry,
        )  # fmt: skip
        self._trips = Counter("mien_canary_pauses", "Pauses of the canary.", registry=registry)
        self._active = Gauge(
            "mien_canary_active", "1 while the candidate answers its share.",
            registry=registry, multiprocess_mode="livemin",
        )  # fmt: skip

    def compared(self, *, emotion: str, agreed: bool, version: str, live_s: float, shadow_s: float) -> None:
        """Count a picture that both models answered."""
        self._compared.labels(emotion, str(agreed).lower(), version).inc()
        self._seconds.labels("live").observe(live_s)
        self._seconds.labels("shadow").observe(shadow_s)

    def shadow_failed(self) -> None:
        """Count a picture for which the shadow failed."""
        self._failed.inc()

    def shadow_dropped(self, count: int) -> None:
        """Count pictures that the shadow had no time for."""
        self._dropped.inc(count)

    def canary(self, outcome: CanaryOutcome) -> None:
        """Count a request of the canary's share by its outcome."""
        self._canary.labels(outcome).inc()

    def trip(self) -> None:
        """Count a pause of the canary."""
        self._trips.inc()

    def active(self, active: bool) -> None:
        """Set whether the candidate answers its share now."""
        self._active.set(active)


_STAGES = ("queue", "decode", "faces", "preprocess", "inference")
_FACES = (0, 1, 2, 4, 8, 16, 32)
# Shares of validation pictures: closer together where a picture begins to be unfamiliar.
_NOVELTY = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
# Up to the largest MIEN_BATCH_SIZE; a single request of tensors may have more.
_IMAGES = (1, 2, 4, 8, 16, 32, 64)


class AnswerListener(Protocol):
    """Listener for answers, for example traces."""

    def detection(self, detection: Detection) -> None:
        """A picture was answered."""

    def tensors(self, answered: TensorAnswer[Any]) -> None:
        """A tensor request was answered."""


class Metrics:
    """All metrics of one application, in its own registry: a process may have several applications."""

    content_type = CONTENT_TYPE_LATEST
    """Media type of what `render` returns."""

    def __init__(self) -> None:
        # The creation times of the series are not used and would double the number of series.
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
            "mien_stage_seconds", "Duration of the stages of an answer.", ("stage",),
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._predictions = Counter(
            "mien_predictions", "Pictures answered, by predicted emotion.", ("emotion", "version"),
            registry=registry,
        )  # fmt: skip
        self._faces = Histogram("mien_faces", "Faces in a picture.", buckets=_FACES, registry=registry)
        self._novelty = Histogram(
            "mien_novelty", "Novelty of answered pictures.", buckets=_NOVELTY, registry=registry
        )
        self._frames = Counter(
            "mien_stream_frames", "Frames of streams, by outcome.", ("outcome",), registry=registry
        )
        self._in_flight = self._gauge("mien_requests_in_flight", "Requests in progress.", "livesum")
        self._batches = Histogram(
            "mien_batch_images", "Pictures in one batch of the network.", buckets=_IMAGES, registry=registry
        )
        self._streams = self._gauge("mien_streams", "Open streams.", "livesum")
        self._connections = self._gauge("mien_connections", "Open connections.", "livesum")
        self._ended = Counter(
            "mien_connections_ended", "Connections that the service closed.", ("reason",), registry=registry
        )
        self._feedback = Counter("mien_feedback", "True emotions received.", ("emotion",), registry=registry)
        self._labels = Counter("mien_labels", "Labels of kept pictures.", ("label",), registry=registry)
        self._ready = self._gauge("mien_ready", "1 when a model is live.", "min")
        self._waiting = self._gauge("mien_queue_images", "Pictures waiting for the network.", "livesum")
        self._info = Gauge(
            "mien_model_info", "1 for the live model.", ("name", "version", "sha256", "sample"),
            registry=registry, multiprocess_mode="livemax",
        )  # fmt: skip
        self._switches = self._gauge(
            "mien_model_switches", "Switches of the live model since the start.", "livemax"
        )
        self._refused = self._gauge("mien_model_refusals", "Models refused since the start.", "livemax")
        self._rows = Gauge(
            "mien_observations", "Observations of this process, by state.", ("state",),
            registry=registry, multiprocess_mode="livesum",
        )  # fmt: skip
        self.experiments = ExperimentMetrics(registry)
        self.drift = DriftMetrics(registry)
        self._live: tuple[str, ...] | None = None
        self._stage_series = [(stage, self._stages.labels(stage)) for stage in _STAGES]
        self._answered: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._predicted: dict[tuple[str, str], Counter] = {}
        self.listener: AnswerListener | None = None

    def _gauge(self, name: str, text: str, mode: Literal["min", "livesum", "livemax"]) -> Gauge:
        return Gauge(name, text, registry=self._registry, multiprocess_mode=mode)

    def request_started(self) -> None:
        """Count a request in progress."""
        self._in_flight.inc()

    def request_finished(self) -> None:
        """Remove a request from those in progress."""
        self._in_flight.dec()

    def batch(self, images: int) -> None:
        """Count a batch of pictures that ran through the network; called in worker threads."""
        self._batches.observe(images)

    def request(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request and its duration."""
        key = route, method, status
        series = self._answered.get(key)
        if series is None:
            # Looking up a series by its labels costs more than the increment.
            series = self._requests.labels(route, method, str(status)), self._seconds.labels(route)
            self._answered[key] = series
        series[0].inc()
        series[1].observe(seconds)

    def detection(self, detection: Detection) -> None:
        """Count an answered picture and the durations of its stages."""
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
        if detection.answer is not None and detection.answer.novelty is not None:
            self._novelty.observe(detection.answer.novelty)
        if self.listener is not None:
            self.listener.detection(detection)

    def frame(self, outcome: str) -> None:
        """Count a stream's frame that was `answered`, `dropped` or `refused`."""
        self._frames.labels(outcome).inc()

    def streams(self, count: int) -> None:
        """Set the number of open streams."""
        self._streams.set(count)

    def tensors(self, answered: TensorAnswer[Any]) -> None:
        """Count an answered tensor request and the durations of its stages."""
        timing = answered.timing
        seconds = {"queue": timing.queued_s, "preprocess": timing.prepare_s, "inference": timing.infer_s}
        for stage, value in seconds.items():
            self._stages.labels(stage).observe(value)
        for emotion, count in Counted(answered.predicted).items():
            self._predictions.labels(emotion, answered.model.version).inc(count)
        for value in answered.novelty:
            self._novelty.observe(value)
        if self.listener is not None:
            self.listener.tensors(answered)

    def connections(self, count: int) -> None:
        """Set the number of open connections."""
        self._connections.set(count)

    def connection_ended(self, reason: str) -> None:
        """Count a connection that the service closed, by `serving.http.server.connections.EndReason`."""
        self._ended.labels(reason).inc()

    def feedback(self, emotion: str) -> None:
        """Count a feedback; the caller has checked that the model has this emotion."""
        self._feedback.labels(emotion).inc()

    def label(self, label: str) -> None:
        """Count a label; the caller has checked that it is a class of a model or one of the other two."""
        self._labels.labels(label).inc()

    def state(self, slot: ModelSlot, *, waiting: int, rows: dict[str, int]) -> None:
        """Set the gauges of the live model, the queue and the observations."""
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
        """Return the metrics in Prometheus' text format."""
        if MULTIPROCESS_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        joined = CollectorRegistry()
        multiprocess.MultiProcessCollector(joined)  # type: ignore[no-untyped-call] # the client's own
        return generate_latest(joined)
