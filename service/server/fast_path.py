"""The fast path: `POST /predict` with one image in its simplest form, answered without ASGI, routing or validation.

It handles one case: a POST to /predict without a query, whose body is an image or a form with one file, and whose
response is a prediction. Everything else, including every error, is passed to the application, so that each error is
produced in one place. The responses are byte for byte those of the application.

Requests received in one event-loop iteration are batched; there is no batching delay. The busier the server, the larger
the batches. A small network runs on the event loop. A large one, which would block it, runs in a thread.

An exception on the fast path never reaches the connection. It is logged and counted, and the application answers the
requests that are still unanswered.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from service.api.middleware import SECURITY_HEADERS, accept_request_id
from service.errors import ServiceError
from service.inference.predictions import format_predictions
from service.observability.logs import log_access
from service.observability.telemetry import new_trace
from service.server.batches import (
    MAX_BATCH_IMAGES,
    Batch,
    BatchResult,
    Client,
    FastRequest,
    InferenceThread,
    compute,
    make_batch,
    without_done,
)
from service.server.fast_preprocess import FORM, GlyphReader
from service.server.request_parser import parse_fast_request
from service.services import Services
from service.serving.model import ServingModel

log = logging.getLogger(__name__)

MAX_BYTES = 65_536
"""Longer bodies are left to the application, which decodes them in a thread."""

_ROUTE = "/predict"
_HEAD = b"content-type: application/json\r\n" + b"".join(b"%b: %b\r\n" % header for header in SECURITY_HEADERS)
_UNSUPPORTED = frozenset((b"transfer-encoding", b"expect", b"content-encoding", b"origin", b"traceparent"))


class FastPath:
    """Collects the requests of an event-loop iteration and answers them as one batch."""

    def __init__(self, services: Services) -> None:
        """Share the services used by the regular routes."""
        self._services = services
        self._reader = GlyphReader(services.image_limits)
        self._queue: list[FastRequest] = []
        self._thread = InferenceThread(self.flush_computed)
        self._queued_at = 0.0
        self._logs_all = services.settings.log_requests == "all"

    def try_accept(self, client: Client, headers: list[tuple[bytes, bytes]]) -> FastRequest | None:
        """Accept a POST to /predict by its headers; None if the application must handle it."""
        try:
            return self._accept(client, headers)
        except Exception:
            self.record_failure()
            return None

    def try_accept_data(self, client: Client, data: bytes) -> FastRequest | None:
        """Accept data received between two requests if it is one complete request for the fast path."""
        try:
            parsed = parse_fast_request(data)
            request = self._accept(client, parsed[0]) if parsed else None
        except Exception:
            self.record_failure()
            return None
        if parsed and request:
            request.body = parsed[1]
        return request

    def _accept(self, client: Client, headers: list[tuple[bytes, bytes]]) -> FastRequest | None:
        fields = dict(headers)
        length, content_type = fields.get(b"content-length", b""), fields.get(b"content-type", b"")
        if (
            len(fields) != len(headers)
            or not length.isdigit()
            or int(length) > MAX_BYTES
            or not content_type.startswith((FORM, b"image/"))
            or not _UNSUPPORTED.isdisjoint(fields)
        ):
            return None
        try:
            self._services.authorizer.check_host(fields.get(b"host"))
            self._services.authorizer.authorize(fields.get(b"authorization"), "predict")
        except ServiceError:
            return None
        return FastRequest(client, headers, fields, time.perf_counter())

    def enqueue(self, request: FastRequest, *, is_alone: bool = False) -> None:
        """Queue a complete request until the end of this event-loop iteration; with `is_alone`, answer it at once."""
        self._queue.append(request)
        if len(self._queue) == 1:
            self._queued_at = time.perf_counter()
            if is_alone:
                self.flush()
            else:
                asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> bool:
        """Answer queued requests, at most one batch per call, so that the event loop can run other tasks.

        Returns whether there were any. Each is answered, passed to the application or to the thread, or aborted.
        """
        requests, self._queue = self._queue[:MAX_BATCH_IMAGES], self._queue[MAX_BATCH_IMAGES:]
        if not requests:
            return False  # a pipelined request had them flushed earlier
        if self._queue:
            asyncio.get_running_loop().call_soon(self.flush)
        try:
            self._process(requests)
        except Exception:
            self.record_failure()
        self._fall_back_all(request for request in requests if not request.in_thread)
        return True

    def flush_computed(self) -> None:
        """Answer the requests that the thread has computed. As in `flush`, none is left unanswered."""
        while done := self._thread.take_done():
            self._start_next()
            batch, future = done
            try:
                self._respond(*without_done(batch, future.result()))
            except Exception:
                self.record_failure()
            self._fall_back_all(batch.requests)

    def fall_back(self, request: FastRequest) -> None:
        """Pass a request to the application."""
        request.is_done = True
        try:
            request.client.fall_back(request)
        except Exception:
            self.record_failure()
            request.client.abort()

    def _fall_back_all(self, requests: Iterable[FastRequest]) -> None:
        for request in requests:
            if not request.is_done:
                self.fall_back(request)

    def _start_next(self) -> None:
        try:
            self._thread.start_next()
        except Exception:
            self.record_failure()
            for batch in self._thread.clear():
                self._fall_back_all(batch.requests)

    def record_failure(self) -> None:
        """Log and count the exception that is being handled."""
        log.exception("the fast path failed; the application answers instead")
        self._services.metrics.record_fast_path_error()

    def _process(self, requests: Sequence[FastRequest]) -> None:
        """Predict the requests whose image can be decoded, by version; leave the others unanswered."""
        self._services.metrics.record_queue_wait(time.perf_counter() - self._queued_at)
        by_version: dict[int, tuple[ServingModel, list[FastRequest], list[bytes]]] = {}
        for request, glyph in zip(requests, self._read_glyphs(requests), strict=True):
            if glyph is None:
                continue
            request.request_id = accept_request_id(request.fields.get(b"x-request-id", b""))
            try:
                snapshot = self._services.predictor.route(request.request_id)
            except ServiceError:
                continue
            _, accepted, glyphs = by_version.setdefault(id(snapshot), (snapshot, [], []))
            accepted.append(request)
            glyphs.append(glyph)
        for group in by_version.values():
            self._predict(make_batch(*group))

    def _read_glyphs(self, requests: Sequence[FastRequest]) -> list[bytes | None]:
        contents = [(request.fields[b"content-type"], request.body) for request in requests]
        try:
            return self._reader.read(contents)
        except Exception:
            self.record_failure()
        return [self._read_glyph(*content) for content in contents]

    def _read_glyph(self, content_type: bytes, body: bytes) -> bytes | None:
        """Read one image alone, so that an image that fails does not affect the others of its batch."""
        try:
            return self._reader.read([(content_type, body)])[0]
        except Exception:  # logged when they were read together
            return None

    def _predict(self, batch: Batch) -> None:
        if not batch.snapshot.is_large:
            self._respond(batch, compute(batch))
        elif not self._thread.is_full:
            self._thread.add(batch)
            for request in batch.requests:
                request.in_thread = True
            self._start_next()

    def _respond(self, batch: Batch, result: BatchResult) -> None:
        if not batch.requests:
            return
        snapshot = batch.snapshot
        predictions = format_predictions(result.probabilities, snapshot.labels)
        if self._services.peers:  # before responding: the next request may be handled by another process
            self._keep_images(batch, predictions)
        head = _HEAD + b"x-model-version: %d\r\nx-request-id: " % snapshot.version
        for request, prediction in zip(batch.requests, predictions, strict=True):
            prediction |= {"model": snapshot.model, "version": snapshot.version, "request_id": request.request_id}
            request.client.respond(head + request.request_id.encode(), orjson.dumps(prediction))
            request.is_done = True
        # The responses leave at the end of this iteration. Recording can wait until then, and runs before any other
        # request is read.
        asyncio.get_running_loop().call_soon(self._record, batch, result, predictions)

    def _record(self, batch: Batch, result: BatchResult, predictions: Sequence[dict[str, Any]]) -> None:
        """Record the metrics, spans and log lines of a batch, and compare it with a candidate."""
        services, trial = self._services, self._services.predictor.rollout
        snapshot, finished = batch.snapshot, result.started + result.seconds
        labels, confidences = zip(*((each["label"], each["confidence"]) for each in predictions), strict=True)
        elapsed = [finished - request.started for request in batch.requests]
        services.metrics.record_responses(_ROUTE, "POST", 200, *elapsed)
        services.recorder.record_batch(snapshot, batch.pixels, labels, confidences, result.seconds)
        if not services.peers:
            self._keep_images(batch, predictions)
        for row, request in enumerate(batch.requests):
            if services.telemetry:
                services.telemetry.record_request(new_trace(), "POST", _ROUTE, 200, elapsed[row], request.request_id)
            if self._logs_all:
                log_access("POST", _ROUTE, 200, elapsed[row], request.request_id)
            if trial:
                services.predictor.mirror(request.request_id, snapshot, batch.pixels[row : row + 1], [labels[row]])

    def _keep_images(self, batch: Batch, predictions: Sequence[dict[str, Any]]) -> None:
        """Keep the images, so that a correction may name their requests."""
        model, version, add = batch.snapshot.model, batch.snapshot.version, self._services.recent.add
        for request, glyph, each in zip(batch.requests, batch.glyphs, predictions, strict=True):
            add(request.request_id, model, version, [glyph], [(each["label"], each["confidence"])])
