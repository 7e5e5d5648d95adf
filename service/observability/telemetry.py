"""OpenTelemetry spans of requests, inference and training jobs. Needs the extra `otel`.

Spans are exported over OTLP/HTTP if `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_…`) is set. The other standard
variables, such as `OTEL_SERVICE_NAME` and `OTEL_TRACES_SAMPLER`, apply too. Without an endpoint nothing is imported.

A span is created when its work has finished, with the ids that its log lines already carry. The SDK has no argument for
ids, so its id generator returns those that were set just before.
"""

import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.observability.tracing import Trace, bound_log_context, log_context

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
Attributes = dict[str, str | int | float]


@dataclass
class _Ids:
    """Id generator that returns the ids that were set last."""

    trace_id: int = 0
    span_id: int = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id

    def is_trace_id_random(self) -> bool:
        return True


class Telemetry:
    """Exports the spans of one process in a background thread."""

    def __init__(self, provider: "TracerProvider", ids: _Ids) -> None:
        """`provider` must use `ids` as its id generator."""
        self._provider, self._ids = provider, ids
        self._tracer: Tracer = provider.get_tracer("glyphserve")

    def export_span(
        self, name: str, trace: Trace, seconds: float, attributes: Attributes, *, failed: bool = False
    ) -> None:
        """Export a span that ends now and took `seconds`. `name` must not contain text of callers."""
        from opentelemetry.trace import (
            NonRecordingSpan,
            SpanContext,
            SpanKind,
            Status,
            StatusCode,
            TraceFlags,
            set_span_in_context,
        )

        end = time.time_ns()
        self._ids.trace_id, self._ids.span_id = int(trace.trace_id, 16), int(trace.span_id, 16)
        parent = None
        if trace.parent_id:
            flags = TraceFlags(int(trace.flags, 16))
            remote = SpanContext(self._ids.trace_id, int(trace.parent_id, 16), is_remote=True, trace_flags=flags)
            parent = set_span_in_context(NonRecordingSpan(remote))
        kind = SpanKind.SERVER if "http.route" in attributes else SpanKind.INTERNAL
        start = end - int(seconds * 1e9)
        span = self._tracer.start_span(name, parent, kind=kind, attributes=attributes, start_time=start)
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    def record_request(
        self, trace: Trace, method: str, route: str, status: int, seconds: float, request_id: str
    ) -> None:
        """Export the span of a request."""
        attributes: Attributes = {
            "http.request.method": method,
            "http.route": route,
            "glyphserve.request_id": request_id,
        }
        attributes["http.response.status_code"] = status
        self.export_span(f"{method} {route}", trace, seconds, attributes, failed=status >= 500)

    def record_inference(self, model: str, version: int, images: int, seconds: float) -> None:
        """Export the span of a batch as a child of the current span."""
        attributes: Attributes = {"glyphserve.model": model, "glyphserve.version": version, "glyphserve.images": images}
        self.export_span("compute", child_of_current(), seconds, attributes)

    @contextmanager
    def job(self, step: str, job_id: str) -> Iterator[None]:
        """Export the block as the span of a job step."""
        trace, started, failed = new_trace(), time.perf_counter(), True
        try:
            with bound_log_context(trace_id=trace.trace_id, span_id=trace.span_id):
                yield
            failed = False
        finally:
            seconds = time.perf_counter() - started
            self.export_span(f"job {step}", trace, seconds, {"glyphserve.job": job_id}, failed=failed)

    def close(self) -> None:
        """Export the remaining spans and shut down."""
        self._provider.shutdown()


def new_trace() -> Trace:
    """Start a trace with new ids."""
    return Trace(secrets.token_hex(16), secrets.token_hex(8), "01")


def child_of_current() -> Trace:
    """Return a child of the current span, or a new trace if there is none."""
    names = log_context()
    if "trace_id" not in names:
        return new_trace()
    return Trace(names["trace_id"], secrets.token_hex(8), "01", names["span_id"])


def open_telemetry() -> Telemetry | None:
    """Return an exporter if an endpoint is configured and the extra is installed, else None."""
    if (
        not any(os.environ.get(name) for name in _ENDPOINTS)
        or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    ):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("an OTLP endpoint is configured, but the extra is missing: pip install 'glyphserve[otel]'")
        return None
    ids: Any = _Ids()
    resource = Resource.create({} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "glyphserve"})
    provider = TracerProvider(id_generator=ids, resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Telemetry(provider, ids)
