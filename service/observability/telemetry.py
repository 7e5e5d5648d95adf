"""Spans for OpenTelemetry: requests, what the network computes, training jobs. Only with the extra `otel`.

They are exported over OTLP/HTTP as the standard variables say, once `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_…`) is
set; `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER` and the others are heard, too. Otherwise nothing is imported.

A span is made when its work is done, with the ids that the log lines had meanwhile.
"""

import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.observability.tracing import Trace, belonging, work

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
Attributes = dict[str, str | int | float]


@dataclass
class _Ids:
    """Gives a span the ids that were chosen for it."""

    trace_id: int = 0
    span_id: int = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id

    def is_trace_id_random(self) -> bool:
        return True


class Telemetry:
    """Exports the spans of one process, from a thread of its own."""

    def __init__(self, provider: "TracerProvider", ids: _Ids) -> None:
        """Use a provider that asks `ids` for ids."""
        self._provider, self._ids = provider, ids
        self._tracer: Tracer = provider.get_tracer("glyphserve")

    def record(self, name: str, trace: Trace, seconds: float, attributes: Attributes, *, failed: bool = False) -> None:
        """Record work that ends now and took so long, as a span of a trace. `name` is without anybody's text."""
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
            above = SpanContext(self._ids.trace_id, int(trace.parent_id, 16), is_remote=True, trace_flags=flags)
            parent = set_span_in_context(NonRecordingSpan(above))
        kind = SpanKind.SERVER if "http.route" in attributes else SpanKind.INTERNAL
        start = end - int(seconds * 1e9)
        span = self._tracer.start_span(name, parent, kind=kind, attributes=attributes, start_time=start)
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    def request(self, trace: Trace, method: str, route: str, status: int, seconds: float, request_id: str) -> None:
        """Record an answered request."""
        attributes: Attributes = {
            "http.request.method": method,
            "http.route": route,
            "glyphserve.request_id": request_id,
        }
        attributes["http.response.status_code"] = status
        self.record(f"{method} {route}", trace, seconds, attributes, failed=status >= 500)

    def computed(self, model: str, version: int, images: int, seconds: float) -> None:
        """Record what the network computed, within the work at hand."""
        attributes: Attributes = {"glyphserve.model": model, "glyphserve.version": version, "glyphserve.images": images}
        self.record("compute", within(), seconds, attributes)

    @contextmanager
    def job(self, step: str, job_id: str) -> Iterator[None]:
        """Record a step of a job."""
        trace, started, failed = begun(), time.perf_counter(), True
        try:
            with work(trace_id=trace.trace_id, span_id=trace.span_id):
                yield
            failed = False
        finally:
            seconds = time.perf_counter() - started
            self.record(f"job {step}", trace, seconds, {"glyphserve.job": job_id}, failed=failed)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def begun() -> Trace:
    """Begin a trace of our own."""
    return Trace(secrets.token_hex(16), secrets.token_hex(8), "01")


def within() -> Trace:
    """Make a span within the work at hand."""
    names = belonging()
    if "trace_id" not in names:
        return begun()
    return Trace(names["trace_id"], secrets.token_hex(8), "01", names["span_id"])


def open_telemetry() -> Telemetry | None:
    """Start exporting if the environment says where to; None otherwise, or without the extra."""
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
        log.warning("an OTLP endpoint is set, but not the extra: pip install 'glyphserve[otel]'")
        return None
    ids: Any = _Ids()
    resource = Resource.create({} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "glyphserve"})
    provider = TracerProvider(id_generator=ids, resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Telemetry(provider, ids)
