"""The fast path: one image by `POST /predict` in its plainest form, answered without ASGI, routing or validation.

It knows a single case: a POST to /predict without a query, the image as the body or as the one file of a form, whose
answer is a prediction. Whatever else comes, errors first of all, it hands to the application, so that there is one
place where each error is made. What it answers is byte for byte what the application would have answered.

Requests that arrive in the same turn of the event loop are read by the network as one batch: nobody waits for a
timer, and the busier the server is, the larger its batches are.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import orjson

from service.errors import ServiceError
from service.images import ImageLimits, open_picture
from service.models.predictor import Snapshot
from service.observability.logs import log_access
from service.observability.telemetry import begun
from service.parts import Parts
from service.transport.answers import predictions
from service.transport.edge import SECURITY, request_id_of
from service.transport.gray import Gray, array_of, pixels_of
from service.transport.plain_glyph import centred, fits_the_box
from service.transport.plain_jpeg import read_plain_jpeg
from service.transport.plain_png import read_plain_png
from training.arrays import Pixels
from training.errors import DataError
from training.preprocess import SIDE, to_glyph

MOST_BYTES = 65_536
"""Longer bodies are left to the application: it reads them while they arrive, and decodes them in a thread."""

_MOST_PIXELS = 102_400
_MOST_IMAGES = 64
_ROUTE = "/predict"
_FORM = b"multipart/form-data; boundary="
_FILE = re.compile(
    rb'--([A-Za-z0-9_-]+)\r\n[Cc]ontent-[Dd]isposition: form-data; name="file"; filename="[^"\\\r\n]+"'
    rb"(?:\r\n[Cc]ontent-[Tt]ype: [^\r\n]*)?\r\n\r\n"
)
_HEAD = b"content-type: application/json\r\n" + b"".join(b"%b: %b\r\n" % header for header in SECURITY)
_UNUSUAL = frozenset((b"transfer-encoding", b"expect", b"content-encoding", b"origin", b"traceparent"))


class Caller(Protocol):
    """The connection that a request came from."""

    def reply(self, head: bytes, body: bytes) -> None:
        """Answer 200 with these headers and this body."""

    def hand_over(self, request: "FastRequest") -> None:
        """Let the application answer."""


@dataclass(slots=True)
class FastRequest:
    """One request that may be answered here."""

    caller: Caller
    headers: list[tuple[bytes, bytes]]
    fields: dict[bytes, bytes]
    started: float
    body: bytes = b""
    request_id: str = ""


class FastPath:
    """Gathers the requests of one turn of the event loop and answers them together."""

    def __init__(self, parts: Parts) -> None:
        """Stand on the parts of the application that would answer otherwise."""
        self._parts = parts
        self._limits: ImageLimits = parts.image_limits
        self._most_pixels = min(_MOST_PIXELS, self._limits.max_pixels)
        self._waiting: list[FastRequest] = []
        self._since = 0.0
        self._logs_all = parts.settings.log_requests == "all"
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._lines = b""

    def admit(self, caller: Caller, headers: list[tuple[bytes, bytes]]) -> FastRequest | None:
        """Take a POST to /predict by its headers; None when the application is to have it."""
        fields = dict(headers)
        length, kind = fields.get(b"content-length", b""), fields.get(b"content-type", b"")
        if (
            len(fields) != len(headers)
            or not length.isdigit()
            or int(length) > MOST_BYTES
            or not kind.startswith((_FORM, b"image/"))
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

    def lines(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Write the headers of every answer, the date among them: uvicorn makes a new list of them once a second."""
        if headers is not self._headers:
            self._headers, self._lines = headers, b"".join(b"%b: %b\r\n" % header for header in headers)
        return self._lines

    def answer(self) -> None:
        """Answer those that wait; of a crowd no more than one batch, so that the event loop can see to others."""
        waiting, self._waiting = self._waiting[:_MOST_IMAGES], self._waiting[_MOST_IMAGES:]
        if not waiting:
            return  # a request that followed on its connection had them answered sooner
        if self._waiting:
            asyncio.get_running_loop().call_soon(self.answer)
        self._parts.metrics.waited(time.perf_counter() - self._since)
        by_version: dict[int, tuple[Snapshot, list[FastRequest], list[bytes]]] = {}
        for request, glyph in zip(waiting, self._glyphs(waiting), strict=True):
            if glyph is None:
                request.caller.hand_over(request)
                continue
            request.request_id = request_id_of(request.fields.get(b"x-request-id", b""))
            try:
                snapshot = self._parts.predictor.choose(request.request_id)
            except ServiceError:
                request.caller.hand_over(request)
                continue
            _, requests, glyphs = by_version.setdefault(id(snapshot), (snapshot, [], []))
            requests.append(request)
            glyphs.append(glyph)
        for snapshot, requests, glyphs in by_version.values():
            self._predict(snapshot, requests, glyphs)

    def _predict(self, snapshot: Snapshot, requests: Sequence[FastRequest], glyphs: Sequence[bytes]) -> None:
        batch = np.frombuffer(b"".join(glyphs), np.uint8).reshape(-1, SIDE, SIDE)
        started = time.perf_counter()
        probabilities = snapshot.probabilities(batch)
        seconds = time.perf_counter() - started
        answers = predictions(probabilities, snapshot.labels)
        head = _HEAD + b"x-model-version: %d\r\nx-request-id: " % snapshot.version
        for request, answer in zip(requests, answers, strict=True):
            answer |= {"model": snapshot.model, "version": snapshot.version, "request_id": request.request_id}
            request.caller.reply(head + request.request_id.encode(), orjson.dumps(answer))
        if self._parts.siblings:  # before the answers leave: the next request may reach another process
            self._remember(snapshot, requests, glyphs, answers)
        # Answers leave at the end of this turn. What is noted of them can wait until they have, and comes before
        # anything that is asked next.
        asyncio.get_running_loop().call_soon(self._note, snapshot, requests, glyphs, batch, answers, started, seconds)

    def _note(
        self,
        snapshot: Snapshot,
        requests: Sequence[FastRequest],
        glyphs: Sequence[bytes],
        batch: Pixels,
        answers: Sequence[dict[str, Any]],
        started: float,
        seconds: float,
    ) -> None:
        """Remember, count and compare what one batch was answered."""
        parts, metrics, trial = self._parts, self._parts.metrics, self._parts.predictor.trial
        labels, confidences = zip(*((answer["label"], answer["confidence"]) for answer in answers), strict=True)
        elapsed = [started + seconds - request.started for request in requests]
        metrics.answered(_ROUTE, "POST", 200, *elapsed)
        metrics.predicted(snapshot, batch, labels, confidences, seconds)
        if parts.telemetry:
            parts.telemetry.computed(snapshot.model, snapshot.version, len(labels), seconds)
        if not parts.siblings:
            self._remember(snapshot, requests, glyphs, answers)
        for place, request in enumerate(requests):
            request_id = request.request_id
            if parts.telemetry:
                parts.telemetry.request(begun(), "POST", _ROUTE, 200, elapsed[place], request_id)
            if self._logs_all:
                log_access("POST", _ROUTE, 200, elapsed[place], request_id)
            if trial:
                parts.predictor.compare(request_id, snapshot, batch[place : place + 1], [labels[place]])

    def _remember(
        self,
        snapshot: Snapshot,
        requests: Sequence[FastRequest],
        glyphs: Sequence[bytes],
        answers: Sequence[dict[str, Any]],
    ) -> None:
        """Keep the images, so that a correction may name their requests."""
        for request, glyph, answer in zip(requests, glyphs, answers, strict=True):
            seen = [(answer["label"], answer["confidence"])]
            self._parts.recent.remember(request.request_id, snapshot.model, snapshot.version, [glyph], seen)

    def _glyphs(self, requests: Sequence[FastRequest]) -> list[bytes | None]:
        """Read images to 784 bytes each, which are a glyph; None for those that are no plain case."""
        glyphs: list[bytes | None] = [None] * len(requests)
        fitting: dict[int, bytes] = {}
        for place, request in enumerate(requests):
            content = image_of(request.fields[b"content-type"], request.body)
            if not content or len(content) > self._limits.max_bytes:
                continue
            gray = read_plain_png(content, self._most_pixels) or read_plain_jpeg(content, self._most_pixels)
            if gray and fits_the_box(gray):
                fitting[place] = pixels_of(gray)
            else:
                glyphs[place] = self._brought_into_form(content, gray)
        passing = centred(fitting)
        for place, pixels in fitting.items():
            glyphs[place] = passing.get(place) or _glyph_of(np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE))
        return glyphs

    def _brought_into_form(self, content: bytes, gray: Gray | None) -> bytes | None:
        """Read a picture of another form; `gray` has its gray values if it is of one of the two plain kinds."""
        if gray and max(gray.size) <= self._limits.max_side:
            return _glyph_of(array_of(gray))
        try:
            picture = open_picture(content, self._limits)
            return picture.glyph().tobytes() if picture.pixels <= self._most_pixels else None
        except ServiceError:
            return None


def _glyph_of(gray: Pixels) -> bytes | None:
    try:
        return to_glyph(gray).tobytes()
    except DataError:
        return None


def image_of(content_type: bytes, body: bytes) -> bytes | None:
    """Find the image: the body itself, or the only file of a form as every client writes it; None for other forms."""
    if not content_type.startswith(_FORM):
        return body
    opening = _FILE.match(body)
    if opening is None or content_type[len(_FORM) :] != opening[1]:
        return None
    start, delimiter = opening.end(), b"\r\n--" + opening[1]
    end = body.find(delimiter, start)
    return body[start:end] if body[end + len(delimiter) :] in (b"--\r\n", b"--") else None
