"""Traces for OpenTelemetry, when an endpoint is configured by its own variables; there is no setting of ours.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 python -m serving

A request leaves one span with its pictures' stages as children, made from the timings that every answer has
anyway, when it has been answered. A thread sends them; while the collector is away they wait, bounded, and
are dropped, and no request notices. No body, address, path or user agent is in them.

Without an endpoint nothing of the SDK is imported, and a request pays for two looks at None.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from serving.detection.responses import Detection
from serving.detection.tensors import TensorAnswer

if TYPE_CHECKING:
    from serving.http.spans import SpanWriter

_log = logging.getLogger("serving.http")
# https://opentelemetry.io/docs/specs/otel/protocol/exporter/
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
# What a collector that is away may cost the end of the process.
_FLUSH_S = 3.0
# Probes and scrapes come every few seconds and tell nothing.
_UNTRACED = frozenset({"/livez", "/readyz", "/metrics"})
_STAGES = ("queue", "decode", "faces", "preprocess", "inference")


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What one picture's answer took, or one request of tensors."""

    ended_ns: int
    """Unix time, nanoseconds."""
    total_ms: float
    stages: Mapping[str, float]
    """Milliseconds; `inference` comes last, the others follow each other."""
    attributes: Mapping[str, str]


@dataclass(kw_only=True, slots=True)
class Trace:
    """One request while it runs."""

    headers: Mapping[bytes, bytes]
    begun_ns: int
    parts: list[Part] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a request ended."""

    method: str
    route: str
    status: int
    request_id: str


_current: ContextVar[Trace | None] = ContextVar("mien_trace", default=None)


def configured(environment: Mapping[str, str]) -> Traces | None:
    """Traces, when the environment asks for them."""
    if not any(environment.get(name) for name in _ENDPOINTS):
        return None
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _PROTOCOL)
    if protocol != _PROTOCOL:
        _log.warning(
            "no traces: the protocol is %r, expected %s; correct %s", protocol, _PROTOCOL, _PROTOCOLS[1]
        )
        return None
    return Traces()


class Traces:
    """Requests on their way to a collector."""

    def __init__(self) -> None:
        """Nothing is imported and nothing sent before `start`."""
        self._writer: SpanWriter | None = None

    def start(self) -> None:
        """Begin to send; what goes wrong with that is logged, and there are no traces."""
        try:
            from serving.http.spans import SpanWriter

            self._writer = SpanWriter()
        except Exception as error:
            _log.warning("no traces: OpenTelemetry cannot be set up (%s)", error)

    def close(self) -> None:
        """Send what is left, as far as that can be done soon."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        # The SDK's own end waits for as long as an export is tried, which is 10 s and more.
        ending = threading.Thread(target=writer.close, name="traces-end", daemon=True)
        ending.start()
        ending.join(_FLUSH_S)

    def begin(self, headers: Mapping[bytes, bytes], *, path: str = "") -> Trace | None:
        """A request begins in this task; its headers may name the trace that it is part of (W3C)."""
        if self._writer is None or path in _UNTRACED:
            return None
        trace = Trace(headers=headers, begun_ns=time.time_ns())
        _current.set(trace)
        return trace

    def end(self, trace: Trace | None, outcome: Outcome) -> str | None:
        """The request was answered; the id of its trace."""
        writer = self._writer
        if trace is None or writer is None:
            return None
        _current.set(None)
        try:
            return writer.write(trace, outcome)
        except Exception:
            # Never a reason for a request to fail.
            _log.exception("a trace cannot be written")
            return None

    def detection(self, detection: Detection) -> None:
        """A picture of the request that runs in this task was answered."""
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
        """The request of tensors that runs in this task was answered."""
        timing = answered.timing
        seconds = {"queue": timing.queued_s, "preprocess": timing.prepare_s, "inference": timing.infer_s}
        stages = {name: value * 1e3 for name, value in seconds.items()}
        _add(stages, total_ms=sum(stages.values()), attributes={"mien.model.version": answered.version})


def _add(stages: Mapping[str, float], *, total_ms: float, attributes: Mapping[str, str]) -> None:
    trace = _current.get()
    if trace is not None:
        part = Part(ended_ns=time.time_ns(), total_ms=total_ms, stages=stages, attributes=attributes)
        trace.parts.append(part)
