"""Request traces for OpenTelemetry, enabled by OpenTelemetry's own environment variables.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 python -m serving

Each answered request becomes one span; the stages of its pictures are child spans, built from the timings
that every answer has. A background thread sends them. While the collector is unreachable, spans wait in a
bounded queue and are then dropped; requests are not delayed. Spans hold no body, address, path or user agent.

This module does not import the SDK: `serving.http.telemetry.spans` does, and the application imports that
only when traces are enabled. Without an endpoint a request costs two comparisons with None.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from serving.detection.responses import Detection
from serving.detection.tensors import TensorAnswer

_log = logging.getLogger("serving.http")
# https://opentelemetry.io/docs/specs/otel/protocol/exporter/
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
# How long an unreachable collector may delay the end of the process.
_FLUSH_S = 3.0
# Probes and scrapes come every few seconds and carry no information.
_UNTRACED = frozenset({"/livez", "/readyz", "/metrics"})
_STAGES = ("queue", "decode", "faces", "preprocess", "inference")


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerTimings:
    """Timings of one answered picture, or of one tensor request."""

    end_ns: int
    """Unix time, nanoseconds."""
    total_ms: float
    stages: Mapping[str, float]
    """Duration by stage, milliseconds; `inference` comes last, the others follow each other."""
    attributes: Mapping[str, str]


@dataclass(kw_only=True, slots=True)
class Trace:
    """Trace data of one request in progress."""

    headers: Mapping[bytes, bytes]
    start_ns: int
    """Unix time, nanoseconds."""
    answers: list[AnswerTimings] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestOutcome:
    """Result of one request, as its span shows it."""

    method: str
    route: str
    status: int
    request_id: str


class SpanWriter(Protocol):
    """Writer of finished requests; `spans.OtlpSpanWriter` sends them to a collector."""

    def write(self, trace: Trace, outcome: RequestOutcome) -> str:
        """Write one request; returns its trace id, 32 hexadecimal digits."""

    def close(self) -> None:
        """Send the remaining spans."""


_current: ContextVar[Trace | None] = ContextVar("mien_trace", default=None)


def configured(environment: Mapping[str, str]) -> Traces | None:
    """Create the traces if the environment enables them; None otherwise."""
    if not any(environment.get(name) for name in _ENDPOINTS):
        return None
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _PROTOCOL)
    if protocol != _PROTOCOL:
        _log.warning(
            "traces are off: the protocol is %r, expected %s; correct %s", protocol, _PROTOCOL, _PROTOCOLS[1]
        )
        return None
    return Traces()


class Traces:
    """Collects the traces of requests and passes them to a span writer."""

    def __init__(self) -> None:
        """Create the traces; call `start` to begin sending."""
        self._writer: SpanWriter | None = None

    def start(self, make_writer: Callable[[], SpanWriter]) -> None:
        """Begin to send; a failure of `make_writer` is logged and leaves traces off."""
        try:
            self._writer = make_writer()
        except Exception as error:
            _log.warning("traces are off: could not set up OpenTelemetry (%s)", error)

    def close(self) -> None:
        """Send the remaining spans, for at most `_FLUSH_S` seconds."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        # The SDK's shutdown waits until an export attempt ends, which can take more than 10 s.
        closing = threading.Thread(target=writer.close, name="traces-end", daemon=True)
        closing.start()
        closing.join(_FLUSH_S)

    def begin(self, headers: Mapping[bytes, bytes], *, path: str = "") -> Trace | None:
        """Begin the trace of a request in this task; its headers may name a parent trace (W3C)."""
        if self._writer is None or path in _UNTRACED:
            return None
        trace = Trace(headers=headers, start_ns=time.time_ns())
        _current.set(trace)
        return trace

    def end(self, trace: Trace | None, outcome: RequestOutcome) -> str | None:
        """Write the trace of an answered request and return its id; None without traces."""
        writer = self._writer
        if trace is None or writer is None:
            return None
        _current.set(None)
        try:
            return writer.write(trace, outcome)
        except Exception:
            # A tracing error must not fail the request.
            _log.exception("could not write a trace")
            return None

    def detection(self, detection: Detection) -> None:
        """Add one answered picture to the trace of this task's request."""
        timings, model = detection.timings, detection.model
        _add(
            {name: getattr(timings, name) for name in _STAGES},
            total_ms=timings.total,
            attributes={
                "mien.prediction.id": detection.id,
                "mien.model.name": model.name,
                "mien.model.version": model.version,
                "mien.model.sha256": model.sha256,
            },
        )

    def tensors(self, answered: TensorAnswer[Any]) -> None:
        """Add the answered tensor request to the trace of this task."""
        timing = answered.timing
        seconds = {"queue": timing.queued_s, "preprocess": timing.prepare_s, "inference": timing.infer_s}
        stages = {name: value * 1e3 for name, value in seconds.items()}
        _add(stages, total_ms=sum(stages.values()), attributes={"mien.model.version": answered.model.version})


def _add(stages: Mapping[str, float], *, total_ms: float, attributes: Mapping[str, str]) -> None:
    trace = _current.get()
    if trace is not None:
        answer = AnswerTimings(end_ns=time.time_ns(), total_ms=total_ms, stages=stages, attributes=attributes)
        trace.answers.append(answer)
