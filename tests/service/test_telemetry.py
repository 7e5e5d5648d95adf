"""Spans, exported to a real collector's end: an HTTP server that reads OTLP."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import png, running_server, wait_until
from tests.service.test_tracing import GIVEN, SPAN, TRACE
from training import Dataset

ROOT = Path(__file__).parents[2]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Listen where OTLP is sent to, and give the spans that came, each with its service."""
    pytest.importorskip("opentelemetry.sdk", reason="the extra is not installed: pip install glyphserve[otel]")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans: list[Any] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest()
            request.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
            for resource in request.resource_spans:
                (service,) = (a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
                spans.extend((service, span) for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    yield spans
    server.shutdown()
    thread.join()
    server.server_close()


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


@pytest.mark.slow
@pytest.mark.otel
def test_requests_computing_and_jobs_arrive_as_spans(collector: list[Any], tmp_path: Path, digits: Dataset) -> None:
    with running_server(tmp_path / "home") as server:
        headers = {"Content-Type": "image/png", "traceparent": GIVEN, "X-Request-ID": "traced"}
        answer = server.http.post("/predict", content=png(digits.images[0]), headers=headers)
        own = answer.headers["traceresponse"].split("-")[2]
        server.http.post("/predict", content=png(digits.images[0]), headers={"Content-Type": "image/png"})
        server.http.get("/models/nobody")
        job = server.submit(settings={"epochs": 1, "layers": [784, 8, 10]}, promote="never")["id"]
        server.wait_for(job, "succeeded")
        wait_until(lambda: "job conclude" in {span.name for _, span in collector}, "the span of the job")
    assert {service for service, _ in collector} == {"glyphserve"}
    spans = [span for _, span in collector]
    predicts = [span for span in spans if span.name == "POST /predict"]
    assert len(predicts) == 2
    (traced,) = (span for span in predicts if span.trace_id.hex() == TRACE)
    assert (traced.span_id.hex(), traced.parent_span_id.hex()) == (own, SPAN)
    assert attributes(traced)["http.response.status_code"] == 200
    assert attributes(traced)["glyphserve.request_id"] == "traced"
    assert 0 < traced.end_time_unix_nano - traced.start_time_unix_nano < 20e9
    (computed,) = (span for span in spans if span.name == "compute" and span.trace_id.hex() == TRACE)
    assert computed.parent_span_id.hex() == own
    assert attributes(computed)["glyphserve.images"] == 1
    assert "GET /models/{name}" in {span.name for span in spans}
    learned, concluded = (next(span for span in spans if span.name == f"job {step}") for step in ("learn", "conclude"))
    assert attributes(learned)["glyphserve.job"] == attributes(concluded)["glyphserve.job"] == job


@pytest.mark.parametrize(
    "variables", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}]
)
def test_nothing_is_imported_unless_it_is_wanted(variables: dict[str, str]) -> None:
    code = (
        "import sys; from service.observability.telemetry import open_telemetry; assert open_telemetry() is None; "
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env={"PATH": "", **variables})


def test_without_the_extra_a_warning_says_what_is_missing() -> None:
    code = (
        "import sys; sys.modules['opentelemetry.sdk'] = None; "  # what an import finds that is not installed
        "from service.observability.telemetry import open_telemetry; assert open_telemetry() is None"
    )
    variables = {"PATH": "", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    shown = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=variables, capture_output=True)
    assert b"glyphserve[otel]" in shown.stderr
