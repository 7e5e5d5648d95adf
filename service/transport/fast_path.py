"""The fast path: one image by `POST /predict` in its plainest form, answered without ASGI, routing or validation.

It knows a single case: a POST to /predict without a query, the image as the body or as the one file of a form, whose
answer is a prediction. Whatever else comes, errors first of all, it hands to the application, so that there is one
place where each error is made. What it answers is byte for byte what the application would have answered.

Requests that arrive in the same turn of the event loop are read by the network as one batch: nobody waits for a
timer, and the busier the server is, the larger its batches are. A small network reads them on the event loop, a large
one, which would hold up all others there, in a thread.

An exception here never reaches the connection: it is logged and counted, and the application answers the requests that
it leaves without an answer.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from service.errors import ServiceError
from service.observability.logs import log_access
from service.observability.telemetry import begun
from service.parts import Parts
from service.serving.model import ServingModel
from service.transport.answers import predictions
from service.transport.batches import (
    MOST_IMAGES,
    Batch,
    Caller,
    Computed,
    ComputingThread,
    FastRequest,
    batch_of,
    compute,
    without_answered,
)
from service.transport.edge import SECURITY, request_id_of
from service.transport.fast_glyphs import FORM, GlyphReader
from service.transport.plain_request import read_plain_request

log = logging.getLogger(__name__)

MOST_BYTES = 65_536
"""Longer bodies are left to the application: it reads them while they arrive, and decodes them in a thread."""

_ROUTE = "/predict"
_HEAD = b"content-type: application/json\r\n" + b"".join(b"%b: %b\r\n" % header for header in SECURITY)
_UNUSUAL = frozenset((b"transfer-encoding", b"expect", b"content-encoding", b"origin", b"traceparent"))


class FastPath:
    """Gathers the requests of one turn of the event loop and answers them together."""

    def __init__(self, parts: Parts) -> None:
        """Stand on the parts of the application that would answer otherwise."""
        self._parts = parts
        self._reader = GlyphReader(parts.image_limits)
        self._waiting: list[FastRequest] = []
        self._computing = ComputingThread(self.answer_computed)
        self._since = 0.0
        self._logs_all = parts.settings.log_requests == "all"

    def admit(self, caller: Caller, headers: list[tuple[bytes, bytes]]) -> FastRequest | None:
        """Take a POST to /predict by its headers; None when the application is to have it."""
        try:
            return self._admit(caller, headers)
        except Exception:
            self.failed()
            return None

    def admit_whole(self, caller: Caller, data: bytes) -> FastRequest | None:
        """Take what has come on a connection that waits for a request, if it is one whole request for the fast path."""
        try:
            found = read_plain_request(data)
            request = self._admit(caller, found[0]) if found else None
        except Exception:
            self.failed()
            return None
        if found and request:
            request.body = found[1]
        return request

    def _admit(self, caller: Caller, headers: list[tuple[bytes, bytes]]) -> FastRequest | None:
        fields = dict(headers)
        length, kind = fields.get(b"content-length", b""), fields.get(b"content-type", b"")
        if (
            len(fields) != len(headers)
            or not length.isdigit()
            or int(length) > MOST_BYTES
            or not kind.startswith((FORM, b"image/"))
            or not _UNUSUAL.isdisjoint(fields)
        ):
            return None
        try:
            self._parts.access.check_host(fields.get(b"host"))
            self._parts.access.check(fields.get(b"authorization"), "predict")
        except ServiceError:
            return None
        return FastRequest(caller, headers, fields, time.perf_counter())

    def take(self, request: FastRequest, *, is_alone: bool = False) -> None:
        """Answer a request, its body complete, at the end of this turn of the event loop; at once, if it is alone."""
        self._waiting.append(request)
        if len(self._waiting) == 1:
            self._since = time.perf_counter()
            if is_alone:
                self.answer()
            else:
                asyncio.get_running_loop().call_soon(self.answer)

    def answer(self) -> bool:
        """Answer those that wait; of a crowd no more than one batch, so that the event loop can see to others.

        Tells whether there were any. All that are taken are answered or handed over, or their connection is ended.
        """
        waiting, self._waiting = self._waiting[:MOST_IMAGES], self._waiting[MOST_IMAGES:]
        if not waiting:
            return False  # a request that followed on its connection had them answered sooner
        if self._waiting:
            asyncio.get_running_loop().call_soon(self.answer)
        try:
            self._answer(waiting)
        except Exception:
            self.failed()
        self._hand_over_others(request for request in waiting if not request.is_computed)
        return True

    def answer_computed(self) -> None:
        """Answer those whose images a thread has read; as in `answer`, none is left without an answer."""
        while taken := self._computing.take():
            self._begin_next()
            batch, future = taken
            try:
                self._reply(*without_answered(batch, future.result()))
            except Exception:
                self.failed()
            self._hand_over_others(batch.requests)

    def give_up(self, request: FastRequest) -> None:
        """Let the application answer a request that waits for the thread, since others wait for its answer."""
        self._hand_over(request)

    def _begin_next(self) -> None:
        try:
            self._computing.begin_next()
        except Exception:
            self.failed()
            for batch in self._computing.drop():
                self._hand_over_others(batch.requests)

    def failed(self) -> None:
        """Note the exception that is being handled; the application answers instead."""
        log.exception("the fast path failed; the application answers instead")
        self._parts.metrics.fast_path_failed()

    def _answer(self, waiting: Sequence[FastRequest]) -> None:
        """Answer requests whose glyphs can be read and whose model can be told; leave the others alone."""
        self._parts.metrics.waited(time.perf_counter() - self._since)
        by_version: dict[int, tuple[ServingModel, list[FastRequest], list[bytes]]] = {}
        for request, glyph in zip(waiting, self._glyphs(waiting), strict=True):
            if glyph is None:
                continue
            request.request_id = request_id_of(request.fields.get(b"x-request-id", b""))
            try:
                snapshot = self._parts.predictor.route(request.request_id)
            except ServiceError:
                continue
            _, requests, glyphs = by_version.setdefault(id(snapshot), (snapshot, [], []))
            requests.append(request)
            glyphs.append(glyph)
        for group in by_version.values():
            self._predict(batch_of(*group))

    def _glyphs(self, waiting: Sequence[FastRequest]) -> list[bytes | None]:
        contents = [(request.fields[b"content-type"], request.body) for request in waiting]
        try:
            return self._reader.read(contents)
        except Exception:
            self.failed()
        return [self._glyph(*content) for content in contents]

    def _glyph(self, kind: bytes, body: bytes) -> bytes | None:
        """Read one picture alone: of those that arrived with one that cannot be read, the others still can."""
        try:
            return self._reader.read([(kind, body)])[0]
        except Exception:  # logged when they were read together
            return None

    def _hand_over_others(self, requests: Iterable[FastRequest]) -> None:
        for request in requests:
            if not request.is_answered:
                self._hand_over(request)

    def _hand_over(self, request: FastRequest) -> None:
        request.is_answered = True
        try:
            request.caller.hand_over(request)
        except Exception:
            self.failed()
            request.caller.abort()

    def _predict(self, batch: Batch) -> None:
        if not batch.snapshot.is_large:
            self._reply(batch, compute(batch))
        elif not self._computing.is_full:
            self._computing.add(batch)
            for request in batch.requests:
                request.is_computed = True
            self._begin_next()

    def _reply(self, batch: Batch, computed: Computed) -> None:
        if not batch.requests:
            return
        snapshot = batch.snapshot
        answers = predictions(computed.probabilities, snapshot.labels)
        if self._parts.siblings:  # before the answers leave: the next request may reach another process
            self._remember(batch, answers)
        head = _HEAD + b"x-model-version: %d\r\nx-request-id: " % snapshot.version
        for request, answer in zip(batch.requests, answers, strict=True):
            answer |= {"model": snapshot.model, "version": snapshot.version, "request_id": request.request_id}
            request.caller.reply(head + request.request_id.encode(), orjson.dumps(answer))
            request.is_answered = True
        # Answers leave at the end of this turn. What is noted of them can wait until they have, and comes before
        # anything that is asked next.
        asyncio.get_running_loop().call_soon(self._note, batch, computed, answers)

    def _note(self, batch: Batch, computed: Computed, answers: Sequence[dict[str, Any]]) -> None:
        """Remember, count and compare what one batch was answered."""
        parts, metrics, trial = self._parts, self._parts.metrics, self._parts.predictor.rollout
        snapshot, seconds = batch.snapshot, computed.seconds
        labels, confidences = zip(*((answer["label"], answer["confidence"]) for answer in answers), strict=True)
        elapsed = [computed.started + seconds - request.started for request in batch.requests]
        metrics.answered(_ROUTE, "POST", 200, *elapsed)
        metrics.predicted(snapshot, batch.pixels, labels, confidences, seconds)
        if parts.telemetry:
            parts.telemetry.computed(snapshot.model, snapshot.version, len(labels), seconds)
        if not parts.siblings:
            self._remember(batch, answers)
        for place, request in enumerate(batch.requests):
            if parts.telemetry:
                parts.telemetry.request(begun(), "POST", _ROUTE, 200, elapsed[place], request.request_id)
            if self._logs_all:
                log_access("POST", _ROUTE, 200, elapsed[place], request.request_id)
            if trial:
                parts.predictor.mirror(request.request_id, snapshot, batch.pixels[place : place + 1], [labels[place]])

    def _remember(self, batch: Batch, answers: Sequence[dict[str, Any]]) -> None:
        """Keep the images, so that a correction may name their requests."""
        model, version = batch.snapshot.model, batch.snapshot.version
        for request, glyph, answer in zip(batch.requests, batch.glyphs, answers, strict=True):
            seen = [(answer["label"], answer["confidence"])]
            self._parts.recent.add(request.request_id, model, version, [glyph], seen)
