"""Handles requests of the inference protocols: body, tensors, inference, response, statistics.

Short requests run on the event loop; long bodies, large batches and encoded images run in a thread.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from fastapi import Request, Response

from service.api.compression import compress, negotiate_encoding
from service.api.routes.image_payload import decoded
from service.errors import NotFound, ServiceError, UnprocessableContent, attempt
from service.inference.model_input import Batch, BatchLimits, open_images, read_batch, single_input
from service.inference.statistics import PhaseTimes
from service.inference.tensors import Tensor
from service.schemas import MAX_VERSION
from service.services import Services
from service.serving.model import ServingModel
from training.types import Floats, Pixels

_QUICK_BYTES = 64 * 1024
_QUICK_ROWS = 64
_VERSION = re.compile(r"[1-9][0-9]{0,9}")
_T = TypeVar("_T")


@dataclass(frozen=True)
class InferContext:
    """A request and the model that it names."""

    request: Request
    services: Services
    request_id: str
    model: str
    version: str | None = None
    alias: str | None = None


@dataclass(frozen=True)
class InferResult:
    """The output of the network for a request."""

    snapshot: ServingModel
    batch: Batch
    probabilities: Floats
    """(n, classes)"""

    def labels(self) -> list[str]:
        """Return the most probable label of each image."""
        return [self.snapshot.labels[index] for index in self.probabilities.argmax(axis=1).tolist()]


@dataclass(frozen=True)
class EncodedResponse:
    """A response body before compression."""

    content: bytes
    media_type: str = "application/json"
    json_length: int | None = None


class ParsedRequest(Protocol):
    """A parsed request of any of the protocols."""

    @property
    def inputs(self) -> list[Tensor]:
        """The input tensors."""


_R = TypeVar("_R", bound=ParsedRequest)


def parsed_version(version: str) -> int:
    """Parse the version in a path. Raises NotFound if it is not a version number."""
    if not _VERSION.fullmatch(version) or int(version) > MAX_VERSION:
        raise NotFound("there is no version of that number")
    return int(version)


def load_model(services: Services, model: str, version: str | None = None, alias: str | None = None) -> ServingModel:
    """Return the snapshot that a path names. Blocks if it must be loaded.

    Raises NotFound, CorruptModel or Unavailable.
    """
    try:
        return services.predictor.get(model, None if version is None else parsed_version(version), alias)
    except UnprocessableContent:  # not a valid name
        raise NotFound("there is no model of that name, or no such alias of it; GET /models lists both") from None


async def select_model(context: InferContext) -> ServingModel:
    """Return the snapshot for a request. Raises NotFound, CorruptModel or Unavailable."""
    predictor = context.services.predictor
    if context.version is None and context.alias is None and context.model == context.services.settings.model:
        return predictor.route(context.request_id)
    return await asyncio.to_thread(load_model, context.services, context.model, context.version, context.alias)


async def infer(
    context: InferContext,
    parse: Callable[[bytes], _R],
    write: Callable[[_R, InferResult], EncodedResponse],
    *,
    force_thread: bool = False,
) -> Response:
    """Respond to one request: `parse` parses the message of the protocol, `write` serialises the response.

    With `force_thread` everything runs in a thread, whatever its size.
    """
    services = context.services
    snapshot = await select_model(context)
    started = time.perf_counter_ns()
    try:
        body = await context.request.body()
        timer, force_thread = _PhaseTimer(), force_thread or len(body) > _QUICK_BYTES
        message = await timer.in_thread(lambda: parse(body)) if force_thread else parse(body)
        glyphs = await _glyphs(context, message, timer)
        if force_thread or glyphs or message.inputs[0].shape[0] > _QUICK_ROWS:
            done = await timer.in_thread(lambda: _answer(context, snapshot, message, glyphs, write))
        else:
            done = _answer(context, snapshot, message, glyphs, write)
    except ServiceError:
        services.statistics.record_failure(snapshot.model, snapshot.version, time.perf_counter_ns() - started)
        raise
    result, answer, times = done
    _record(context, result, timer.times(*times))
    return answer


async def _glyphs(context: InferContext, message: ParsedRequest, timer: "_PhaseTimer") -> list[Pixels] | None:
    """Decode the images of a message; None if it has no encoded images. Raises the errors of decoding."""
    tensor = single_input(message.inputs)
    if tensor.datatype != "BYTES":
        return None
    opened = await timer.in_thread(lambda: open_images(tensor, _limits(context.services)))
    pictures = [(pixels, partial(attempt, decode)) for pixels, decode in opened]
    glyphs = list[Pixels]()
    for found in await decoded(context.request, context.services, pictures):
        if isinstance(found, ServiceError):
            raise found
        glyphs.append(found)
    return glyphs


def _limits(services: Services) -> BatchLimits:
    return BatchLimits(services.image_limits, services.settings.max_batch_images, services.settings.max_tensor_rows)


class _PhaseTimer:
    """Measures the phases of a request, and how long it waited for a thread."""

    def __init__(self) -> None:
        self._began, self._waited = time.perf_counter_ns(), 0

    async def in_thread(self, work: Callable[[], _T]) -> _T:
        asked = time.perf_counter_ns()

        def timed() -> _T:
            self._waited += time.perf_counter_ns() - asked
            return work()

        return await asyncio.to_thread(timed)

    def times(self, input_done: int, infer_done: int, output_done: int) -> PhaseTimes:
        compute_input = max(input_done - self._began - self._waited, 0)
        return PhaseTimes(self._waited, compute_input, infer_done - input_done, output_done - infer_done)


def _answer(
    context: InferContext,
    snapshot: ServingModel,
    message: _R,
    glyphs: Sequence[Pixels] | None,
    write: Callable[[_R, InferResult], EncodedResponse],
) -> tuple[InferResult, Response, tuple[int, int, int]]:
    form = snapshot.network.config.input
    batch = read_batch(single_input(message.inputs), form, _limits(context.services), glyphs)
    input_done = time.perf_counter_ns()
    result = InferResult(snapshot, batch, snapshot.predict_features(batch.features))
    infer_done = time.perf_counter_ns()
    answer = make_response(context.request, write(message, result), {"X-Model-Version": str(snapshot.version)})
    return result, answer, (input_done, infer_done, time.perf_counter_ns())


def make_response(request: Request, written: EncodedResponse, headers: dict[str, str]) -> Response:
    """Return the HTTP response, compressed if the request accepts it."""
    content = written.content
    headers["Vary"] = "Accept-Encoding"
    if written.json_length is not None:
        headers["Inference-Header-Content-Length"] = str(written.json_length)
    if encoding := negotiate_encoding(request.headers.get("accept-encoding", "")):
        content = compress(content, encoding)
        headers["Content-Encoding"] = encoding
    return Response(content, media_type=written.media_type, headers=headers)


def _record(context: InferContext, result: InferResult, times: PhaseTimes) -> None:
    services, snapshot, batch = context.services, result.snapshot, result.batch
    labels, confidences = result.labels(), result.probabilities.max(axis=1).tolist()
    seconds = times.compute_infer / 1e9
    services.statistics.record_success(snapshot.model, snapshot.version, len(batch), times)
    services.recorder.record_request(context.request_id, snapshot, batch.glyphs, labels, confidences, seconds)
