"""Traces, as a real collector gets them over OTLP/HTTP from the service."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from serving.http.telemetry.traces import configured
from tests.support.collector import Collector, collecting, values
from tests.support.http_process import free_port, running
from tests.support.http_service import picture_of, ready, serving, settings_in, until
from tests.support.pictures import drawn_face, encoded
from tests.support.serving_models import model_folder, sha256_of
from tests.support.streams import asked, stream_of

STAGES = ["queue", "decode", "faces", "preprocess", "inference"]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        # How long finished spans are gathered before they are sent, milliseconds.
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield collector


@pytest.fixture
def client(collector: Collector, tmp_path: Path) -> Iterator[httpx.Client]:
    model_folder(tmp_path / "model")
    with serving(settings_in(tmp_path)) as client:
        yield ready(client)


def the(collector: Collector, name: str) -> Span:
    until(lambda: collector.roots(name))
    (found,) = collector.roots(name)
    return found


def test_a_request_leaves_a_span_with_its_stages(
    client: httpx.Client, collector: Collector, tmp_path: Path
) -> None:
    face = encoded(drawn_face(120))
    before = time.time_ns()
    answered = client.post("/detect", content=face, headers={"x-request-id": "find-me"}).json()
    root = the(collector, "POST /detect")
    assert (root.kind, len(root.trace_id), root.parent_span_id) == (Span.SPAN_KIND_SERVER, 16, b"")
    assert values(root.attributes) == {
        "http.request.method": "POST",
        "http.route": "/detect",
        "http.response.status_code": 200,
        "mien.request_id": "find-me",
        "mien.model.version": "local",
    }
    stages = collector.children(root)
    assert [span.name for span in stages] == STAGES
    took_ms = {span.name: (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6 for span in stages}
    assert took_ms == pytest.approx({name: answered["timings_ms"][name] for name in STAGES}, abs=1e-3)
    assert before <= root.start_time_unix_nano <= stages[0].start_time_unix_nano
    # The span may end after the client has read the answer.
    assert stages[-1].end_time_unix_nano <= root.end_time_unix_nano <= time.time_ns()
    assert values(stages[-1].attributes) == {
        "mien.prediction.id": answered["id"],
        "mien.model.name": "model",
        "mien.model.version": "local",
        "mien.model.sha256": sha256_of(tmp_path / "model"),
    }
    resource = collector.resources[0]
    assert resource["service.name"] == "mien"
    assert resource["service.version"] != ""
    # Nothing of the client, and no span of anybody else's.
    assert "127.0.0.1" not in str(collector.spans)
    assert {span.trace_id for span in collector.spans} == {root.trace_id}


def test_a_request_joins_the_trace_that_its_client_names(client: httpx.Client, collector: Collector) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
    client.get("/model", headers=headers)
    root = the(collector, "GET /model")
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
    assert root.trace_state == "vendor=1"


def test_a_trace_that_its_client_does_not_keep_is_not_sent(
    client: httpx.Client, collector: Collector
) -> None:
    client.get("/model", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    client.get("/model", headers={"traceparent": "nonsense"})
    assert the(collector, "GET /model").trace_id.hex() != TRACE


def test_each_picture_of_a_batch_has_its_span_and_errors_are_marked(
    client: httpx.Client, collector: Collector
) -> None:
    files = [("file", (name, picture_of(index))) for index, name in enumerate("ab")]
    client.post("/detect/batch", files=[*files, ("file", ("c", b"no picture"))])
    root = the(collector, "POST /detect/batch")
    pictures = collector.children(root)
    assert [span.name for span in pictures] == ["picture", "picture"]
    assert all([span.name for span in collector.children(one)] == STAGES for one in pictures)
    assert client.post("/detect", content=b"no picture").status_code == 415
    refused = the(collector, "POST /detect")
    assert values(refused.attributes)["http.response.status_code"] == 415
    # A client's mistake is not an error of the service.
    assert refused.status.code == Status.STATUS_CODE_UNSET
    assert collector.children(refused) == []


def test_probes_leave_no_trace_and_of_a_stream_one_frame_a_second_does(
    client: httpx.Client, collector: Collector
) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        client.get(path)
    with stream_of(client, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}) as socket:
        answers = [asked(socket, picture_of(0)) for _ in range(10)]
    kept = [item["id"] for item in answers if item["recorded"]]
    until(lambda: len(collector.roots("WS /stream")) == len(kept))
    frame = collector.roots("WS /stream")[0]
    assert frame.trace_id.hex() == TRACE
    assert [span.name for span in collector.children(frame)] == STAGES
    assert {span.name for span in collector.spans} == {"WS /stream", *STAGES}


def test_what_is_left_is_sent_when_the_service_ends(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    with collecting() as collector:
        given = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
            # Longer than the test: only the end can send them.
            "OTEL_BSP_SCHEDULE_DELAY": "600000",
            "OTEL_SERVICE_NAME": "faces",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20token",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        }
        with running(tmp_path, **given) as (process, client):
            for _ in range(5):
                client.post("/detect", content=picture_of(0))
            assert collector.spans == []
            process.terminate()
            lines = process.communicate(timeout=60)[1].splitlines()
        assert len(collector.roots("POST /detect")) == 5
        resource = collector.resources[0]
        assert (resource["service.name"], resource["deployment.environment.name"]) == ("faces", "test")
        assert collector.headers[0]["authorization"] == "Bearer token"
    traced = [line for line in lines if "POST /detect 200" in line]
    assert {collector.roots("POST /detect")[0].trace_id.hex() in line for line in traced} == {True, False}


EXPORT_S = 10.0
"""How long OpenTelemetry's exporter tries; a request that waited for it would take as long."""


def test_a_collector_that_is_away_slows_and_fails_nothing(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    # One is refused, the other takes the connection and never answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (free_port(), silent.getsockname()[1]):
            given = {
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
                "OTEL_BSP_SCHEDULE_DELAY": "10",
                "OTEL_BSP_MAX_QUEUE_SIZE": "20",
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
            }
            with running(tmp_path, **given) as (process, client):
                took_s = []
                for _ in range(50):
                    begun = time.monotonic()
                    assert client.post("/detect", content=picture_of(0)).status_code == 200
                    took_s.append(time.monotonic() - begun)
                assert sorted(took_s)[-3] < EXPORT_S
                begun = time.monotonic()
                process.terminate()
                lines = process.communicate(timeout=60)[1].splitlines()
                assert time.monotonic() - begun < 30
            complaints = [line for line in lines if '"opentelemetry.' in line]
            # Once a minute is often enough.
            assert len(complaints) <= 2
            assert all(line.startswith("{") for line in lines), lines


def test_without_an_endpoint_nothing_of_the_sdk_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from serving.http.app import create_app; from serving.settings import Settings;"
        "create_app(Settings());"
        "print([name for name in sys.modules if name.startswith("
        "('opentelemetry.sdk', 'opentelemetry.exporter', 'google.protobuf', "
        "'serving.http.telemetry.spans'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("environment", "traced"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
    ],
)
def test_the_variables_of_opentelemetry_decide(environment: dict[str, str], traced: bool) -> None:
    assert (configured(environment) is not None) == traced


def test_what_cannot_be_set_up_is_said_and_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:1")
    # More than the queue holds, which the SDK refuses.
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1000000")
    model_folder(tmp_path / "model")
    with serving(settings_in(tmp_path)) as client:
        assert ready(client).post("/detect", content=picture_of(0)).status_code == 200
    assert [record for record in caplog.records if record.getMessage().startswith("traces are off: ")]
