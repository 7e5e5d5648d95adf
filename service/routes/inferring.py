"""The way that every request of the inference protocols goes: body, tensors, network, answer; and what is counted.

What is quick runs on the event loop; long bodies, large batches and encoded images run in a thread.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from fastapi import Request, Response

from service.errors import InvalidInput, NotFound, ServiceError, attempt
from service.inference.compression import chosen_encoding, compressed
from service.inference.model_input import Batch, BatchLimits, only_input, open_pictures, read_batch
from service.inference.statistics import Times
from service.inference.tensors import Tensor
from service.parts import Parts
from service.routes.decoding import decoded
from service.schemas import MAX_VERSION
from service.serving.model import ServingModel
from training.types import Floats, Pixels

_QUICK_BYTES = 64 * 1024
_QUICK_ROWS = 64
_VERSION = re.compile(r"[1-9][0-9]{0,9}")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Call:
    """Who is asked, by whom."""

    request: Request
    parts: Parts
    request_id: str
    model: str
    version: str | None = None
    alias: str | None = None


@dataclass(frozen=True)
class Reading:
    """What the network has read."""

    snapshot: ServingModel
    batch: Batch
    probabilities: Floats
    """(n, classes)"""

    def labels(self) -> list[str]:
        """Name the most probable class of each image."""
        return [self.snapshot.labels[place] for place in self.probabilities.argmax(axis=1).tolist()]


@dataclass(frozen=True)
class Written:
    """An answer as it goes out, before it is compressed."""

    content: bytes
    media_type: str = "application/json"
    json_length: int | None = None


class HasInputs(Protocol):
    """A request that was parsed."""

    @property
    def inputs(self) -> list[Tensor]:
        """Its tensors."""


_R = TypeVar("_R", bound=HasInputs)


def parsed_version(version: str) -> int:
    """Read a version as it stands in an address. Raises NotFound for what can be none."""
    if not _VERSION.fullmatch(version) or int(version) > MAX_VERSION:
        raise NotFound("there is no version of that number")
    return int(version)


def find(parts: Parts, model: str, version: str | None = None, alias: str | None = None) -> ServingModel:
    """Find the snapshot that an address names; loads it when it is not at hand, so it may block.

    Raises NotFound, CorruptModel or Unavailable.
    """
    try:
        return parts.predictor.get(model, None if version is None else parsed_version(version), alias)
    except InvalidInput:  # no name of a model or of an alias
        raise NotFound("there is no model of that name, or no such alias of it; GET /models lists both") from None


async def choose(call: Call) -> ServingModel:
    """Choose the snapshot that answers. Raises NotFound, CorruptModel or Unavailable."""
    predictor = call.parts.predictor
    if call.version is None and call.alias is None and call.model == call.parts.settings.model:
        return predictor.route(call.request_id)
    return await asyncio.to_thread(find, call.parts, call.model, call.version, call.alias)


async def infer(
    call: Call, parse: Callable[[bytes], _R], write: Callable[[_R, Reading], Written], *, is_slow: bool = False
) -> Response:
    """Answer one request: `parse` reads the protocol's message, `write` writes the one that answers it.

    With `is_slow` all of it runs in a thread, however small it is.
    """
    parts = call.parts
    snapshot = await choose(call)
    started = time.perf_counter_ns()
    try:
        body = await call.request.body()
        clock, is_slow = _Clock(), is_slow or len(body) > _QUICK_BYTES
        message = await clock.in_thread(lambda: parse(body)) if is_slow else parse(body)
        glyphs = await _glyphs(call, message, clock)
        if is_slow or glyphs or message.inputs[0].shape[0] > _QUICK_ROWS:
            done = await clock.in_thread(lambda: _answer(call, snapshot, message, glyphs, write))
        else:
            done = _answer(call, snapshot, message, glyphs, write)
    except ServiceError:
        parts.statistics.failed(snapshot.model, snapshot.version, time.perf_counter_ns() - started)
        raise
    reading, answer, times = done
    _count(call, reading, clock.times(*times))
    return answer


async def _glyphs(call: Call, message: HasInputs, clock: "_Clock") -> list[Pixels] | None:
    """Decode the images of a message; None when it has none that are encoded. Raises what reading them raises."""
    tensor = only_input(message.inputs)
    if tensor.datatype != "BYTES":
        return None
    opened = await clock.in_thread(lambda: open_pictures(tensor, _limits(call.parts)))
    pictures = [(pixels, partial(attempt, decode)) for pixels, decode in opened]
    glyphs = list[Pixels]()
    for found in await decoded(call.request, call.parts, pictures):
        if isinstance(found, ServiceError):
            raise found
        glyphs.append(found)
    return glyphs


def _limits(parts: Parts) -> BatchLimits:
    return BatchLimits(parts.image_limits, parts.settings.max_batch_images, parts.settings.max_tensor_rows)


class _Clock:
    """Tells where the time of a request goes, and how much of it was waiting for a thread."""

    def __init__(self) -> None:
        self._began, self._waited = time.perf_counter_ns(), 0

    async def in_thread(self, work: Callable[[], _T]) -> _T:
        asked = time.perf_counter_ns()

        def timed() -> _T:
            self._waited += time.perf_counter_ns() - asked
            return work()

        return await asyncio.to_thread(timed)

    def times(self, input_done: int, infer_done: int, output_done: int) -> Times:
        compute_input = max(input_done - self._began - self._waited, 0)
        return Times(self._waited, compute_input, infer_done - input_done, output_done - infer_done)


def _answer(
    call: Call,
    snapshot: ServingModel,
    message: _R,
    glyphs: Sequence[Pixels] | None,
    write: Callable[[_R, Reading], Written],
) -> tuple[Reading, Response, tuple[int, int, int]]:
    form = snapshot.network.config.input
    batch = read_batch(only_input(message.inputs), form, _limits(call.parts), glyphs)
    input_done = time.perf_counter_ns()
    reading = Reading(snapshot, batch, snapshot.predict_features(batch.features))
    infer_done = time.perf_counter_ns()
    answer = respond(call.request, write(message, reading), {"X-Model-Version": str(snapshot.version)})
    return reading, answer, (input_done, infer_done, time.perf_counter_ns())


def respond(request: Request, written: Written, headers: dict[str, str]) -> Response:
    """Make the HTTP answer, compressed when the request asks for it."""
    content = written.content
    headers["Vary"] = "Accept-Encoding"
    if written.json_length is not None:
        headers["Inference-Header-Content-Length"] = str(written.json_length)
    if encoding := chosen_encoding(request.headers.get("accept-encoding", "")):
        content = compressed(content, encoding)
        headers["Content-Encoding"] = encoding
    return Response(content, media_type=written.media_type, headers=headers)


def _count(call: Call, reading: Reading, times: Times) -> None:
    """Count what was read; a trial reads the first images along, and a correction may name them by the request's id."""
    parts, snapshot, batch = call.parts, reading.snapshot, reading.batch
    labels, confidences = reading.labels(), reading.probabilities.max(axis=1).tolist()
    parts.statistics.succeeded(snapshot.model, snapshot.version, len(batch), times)
    parts.metrics.predicted(snapshot, batch.glyphs, labels, confidences, times.compute_infer / 1e9)
    if parts.telemetry:
        parts.telemetry.computed(snapshot.model, snapshot.version, len(batch), times.compute_infer / 1e9)
    few = parts.settings.max_batch_images
    parts.predictor.mirror(call.request_id, snapshot, batch.glyphs[:few], labels[:few])
    seen: list[Any] = list(zip(labels[:few], confidences[:few], strict=True))
    parts.recent.add(call.request_id, snapshot.model, snapshot.version, list(batch.glyphs[:few]), seen)
