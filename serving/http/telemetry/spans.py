"""Writer of finished requests as OpenTelemetry spans.

The only module that imports OpenTelemetry's SDK; it is imported only when traces are enabled.

    POST /detect                 server; http.*, mien.request_id, mien.model.version
    ├── queue                    waiting for a free worker
    ├── decode, faces, preprocess
    └── inference                of the whole batch that contained the picture

A request with several pictures has one span `picture` for each, with these stages as its children. The model
is a span attribute, not a resource attribute: a promotion changes it while the process runs.
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

from serving.http.telemetry.traces import AnswerTimings, RequestOutcome, Trace

_PACKAGE = "mien"
_LAST = "inference"
_W3C = TraceContextTextMapPropagator()


class OtlpSpanWriter:
    """Writes requests as spans; a background thread sends them. See `traces.SpanWriter`."""

    def __init__(self) -> None:
        """Create the tracer from the environment: endpoint, headers, sampler, resource, batch sizes."""
        # Not the global provider: FastAPI would add its own spans, which contain addresses and paths.
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(_PACKAGE)

    def close(self) -> None:
        """Send the remaining spans."""
        self._provider.shutdown()

    def write(self, trace: Trace, outcome: RequestOutcome) -> str:
        """Write one request; returns its trace id, 32 hexadecimal digits."""
        span = self._tracer.start_span(
            f"{outcome.method} {outcome.route}",
            context=_parent(trace),
            kind=SpanKind.SERVER,
            start_time=trace.start_ns,
            attributes={
                "http.request.method": outcome.method,
                "http.route": outcome.route,
                "http.response.status_code": outcome.status,
                "mien.request_id": outcome.request_id,
            },
        )
        if span.is_recording():
            for version in {answer.attributes["mien.model.version"] for answer in trace.answers}:
                span.set_attribute("mien.model.version", version)
            self._write_answers(trace.answers, set_span_in_context(span))
            if outcome.status >= 500:
                span.set_attribute("error.type", str(outcome.status))
                span.set_status(Status(StatusCode.ERROR))
        span.end()
        return format_trace_id(span.get_span_context().trace_id)

    def _write_answers(self, answers: list[AnswerTimings], parent: Context) -> None:
        for answer in answers:
            start_ns = answer.end_ns - _ns(answer.total_ms)
            if len(answers) == 1:
                self._write_stages(answer, parent, start_ns)
                continue
            span = self._tracer.start_span(
                "picture", context=parent, start_time=start_ns, attributes=dict(answer.attributes)
            )
            self._write_stages(answer, set_span_in_context(span), start_ns)
            span.end(end_time=answer.end_ns)

    def _write_stages(self, answer: AnswerTimings, parent: Context, at_ns: int) -> None:
        for name, took_ms in answer.stages.items():
            took_ns = _ns(took_ms)
            # A batch is prepared picture by picture: other pictures' preparation lies before the last stage.
            start_ns = answer.end_ns - took_ns if name == _LAST else at_ns
            attributes = dict(answer.attributes) if name == _LAST else None
            span = self._tracer.start_span(name, context=parent, start_time=start_ns, attributes=attributes)
            span.end(end_time=start_ns + took_ns)
            at_ns += took_ns


def _parent(trace: Trace) -> Context:
    """Read the caller's span from the request's headers; an empty context if there is none."""
    names = ("traceparent", "tracestate")
    carrier = {
        name: trace.headers[name.encode()].decode("latin-1")
        for name in names
        if name.encode() in trace.headers
    }
    # Start from an empty context: the current one may belong to another request.
    return _W3C.extract(carrier, context=Context())


def _resource() -> Resource:
    """The service's resource; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` override it."""
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
