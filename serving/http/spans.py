"""Finished requests as OpenTelemetry's spans. Imports the SDK: it is imported only where traces are wanted.

    POST /detect                 server; http.*, mien.request_id, mien.model.version
    ├── queue                    waiting for a free worker
    ├── decode, faces, preprocess
    └── inference                of the batch that the picture was part of

A request with several pictures has one span `picture` for each, with these under it. The model is an
attribute and no part of the resource: a promotion changes it while the process goes on.
"""

from __future__ import annotations

import os
import socket
from importlib import metadata

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serving.http.telemetry import Outcome, Part, Trace

_PACKAGE = "mien"
_LAST = "inference"
_W3C = TraceContextTextMapPropagator()


class SpanWriter:
    """Writes spans; a thread sends them."""

    def __init__(self) -> None:
        """Set up what the environment says: endpoint, headers, sampler, resource, batches."""
        # Not the global one: FastAPI would add spans of its own, with addresses and paths in them.
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(_PACKAGE)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def write(self, trace: Trace, outcome: Outcome) -> str:
        """One request; returns the id of its trace, 32 hexadecimal digits."""
        span = self._tracer.start_span(
            f"{outcome.method} {outcome.route}",
            context=_parent(trace),
            kind=SpanKind.SERVER,
            start_time=trace.begun_ns,
            attributes={
                "http.request.method": outcome.method,
                "http.route": outcome.route,
                "http.response.status_code": outcome.status,
                "mien.request_id": outcome.request_id,
            },
        )
        if span.is_recording():
            for version in {part.attributes["mien.model.version"] for part in trace.parts}:
                span.set_attribute("mien.model.version", version)
            self._write_parts(trace.parts, set_span_in_context(span))
            if outcome.status >= 500:
                span.set_attribute("error.type", str(outcome.status))
                span.set_status(Status(StatusCode.ERROR))
        span.end()
        return format_trace_id(span.get_span_context().trace_id)

    def _write_parts(self, parts: list[Part], parent: Context) -> None:
        for part in parts:
            begun_ns = part.ended_ns - _ns(part.total_ms)
            if len(parts) == 1:
                self._write_stages(part, parent, begun_ns)
                continue
            span = self._tracer.start_span(
                "picture", context=parent, start_time=begun_ns, attributes=dict(part.attributes)
            )
            self._write_stages(part, set_span_in_context(span), begun_ns)
            span.end(end_time=part.ended_ns)

    def _write_stages(self, part: Part, parent: Context, begun_ns: int) -> None:
        at_ns = begun_ns
        for name, took_ms in part.stages.items():
            took_ns = _ns(took_ms)
            # A batch is prepared picture by picture: between the last stage and those before it are others'.
            start_ns = part.ended_ns - took_ns if name == _LAST else at_ns
            attributes = dict(part.attributes) if name == _LAST else None
            span = self._tracer.start_span(name, context=parent, start_time=start_ns, attributes=attributes)
            span.end(end_time=start_ns + took_ns)
            at_ns += took_ns


def _parent(trace: Trace) -> Context:
    """The caller's span, when it names one that can be read."""
    names = ("traceparent", "tracestate")
    carrier = {
        name: trace.headers[name.encode()].decode("latin-1")
        for name in names
        if name.encode() in trace.headers
    }
    # An empty context, not the current one: nobody else's span is meant.
    return _W3C.extract(carrier, context=Context())


def _resource() -> Resource:
    """Ours, where `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say nothing else."""
    own = Resource(
        {
            "service.name": _PACKAGE,
            "service.version": _version(),
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }
    )
    return Resource.create().merge(own).merge(OTELResourceDetector().detect())


def _version() -> str:
    try:
        return metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        return "unknown"


def _ns(milliseconds: float) -> int:
    return round(milliseconds * 1e6)
