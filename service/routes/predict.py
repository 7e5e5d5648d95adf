"""`POST /predict`: images in, probabilities out."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Query, Request, Response

from service.dependencies import PartsDep, RequestIdDep
from service.errors import ServiceError, attempt
from service.explain import explain as explain_answers
from service.images import Picture
from service.parts import Parts
from service.routes.decoding import decoded, opened
from service.routes.form_docs import OPENAPI
from service.routes.forms import Reader, readers_of
from service.schemas import MAX_VERSION, BatchPrediction, SinglePrediction
from service.serving.model import ServingModel
from service.transport.answers import predictions
from training.types import Pixels
from training.vision.input_spec import IMAGE_SIZE

router = APIRouter(tags=["predict"])


@router.post("/predict", openapi_extra=OPENAPI, response_model=SinglePrediction | BatchPrediction)
async def predict(
    request: Request,
    parts: PartsDep,
    request_id: RequestIdDep,
    model: Annotated[str | None, Query(description="Another model than the serving one.")] = None,
    version: Annotated[int | None, Query(ge=1, le=MAX_VERSION, description="A version of it.")] = None,
    alias: Annotated[str | None, Query(description="An alias of it.")] = None,
    top_k: Annotated[int | None, Query(ge=1, description="Only so many of the most probable labels.")] = None,
    explain: Annotated[bool, Query(description="Say what the network saw, and which pixels made the answer.")] = False,
) -> Response:
    """Read the digit on one image, or on several: as files, as the body itself, or as JSON."""
    if model is None and version is None and alias is None:
        snapshot = parts.predictor.route(request_id)
    else:
        snapshot = await asyncio.to_thread(parts.predictor.get, model, version, alias)
    readers, is_batch = await readers_of(request, parts)
    glyphs = await _glyphs(request, parts, readers)
    answers = _answer(glyphs, snapshot, parts, request_id, top_k)
    _remember(parts, request_id, snapshot, glyphs, answers)
    if explain:
        await asyncio.to_thread(_explain, glyphs, answers, snapshot)
    common = {"model": snapshot.model, "version": snapshot.version, "request_id": request_id}
    if is_batch:
        body: dict[str, Any] = {"predictions": [_as_entry(answer) for answer in answers], **common}
    elif isinstance(answers[0], ServiceError):
        raise answers[0]
    else:
        body = answers[0] | common
    headers = {"X-Model-Version": str(snapshot.version)}
    content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, media_type="application/json", headers=headers)


async def _glyphs(request: Request, parts: Parts, readers: Sequence[Reader]) -> list[Pixels | ServiceError]:
    """Read all images; one that cannot be read becomes its own error."""
    read = await opened(request, lambda: [attempt(reader) for reader in readers])
    pictures = [(each.pixels, partial(attempt, each.glyph)) for each in read if isinstance(each, Picture)]
    glyphs = iter(await decoded(request, parts, pictures))
    return [next(glyphs) if isinstance(each, Picture) else each for each in read]


def _answer(
    read: Sequence[Pixels | ServiceError], snapshot: ServingModel, parts: Parts, request_id: str, top_k: int | None
) -> list[dict[str, Any] | ServiceError]:
    """Let the network see all glyphs as one batch; an image that could not be read is answered by its error."""
    glyphs = [glyph for glyph in read if not isinstance(glyph, ServiceError)]
    batch = np.stack(glyphs) if glyphs else np.empty((0, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    started = time.perf_counter()
    probabilities = snapshot.predict(batch) if glyphs else np.empty((0, len(snapshot.labels)), np.float32)
    seconds = time.perf_counter() - started
    rows = iter(predictions(probabilities, snapshot.labels, top_k))
    answers: list[dict[str, Any] | ServiceError] = []
    for glyph in read:
        if isinstance(glyph, ServiceError):
            parts.metrics.rejected(glyph.code)
            answers.append(glyph)
            continue
        answers.append(next(rows))
    found = [answer for answer in answers if not isinstance(answer, ServiceError)]
    labels = [answer["label"] for answer in found]
    parts.metrics.predicted(snapshot, batch, labels, [answer["confidence"] for answer in found], seconds)
    if parts.telemetry and labels:
        parts.telemetry.computed(snapshot.model, snapshot.version, len(labels), seconds)
    parts.predictor.mirror(request_id, snapshot, batch, labels)
    return answers


def _remember(
    parts: Parts,
    request_id: str,
    snapshot: ServingModel,
    read: Sequence[Pixels | ServiceError],
    answers: Sequence[dict[str, Any] | ServiceError],
) -> None:
    """Keep the images for a while, so that a correction may name this request."""
    glyphs = [None if isinstance(glyph, ServiceError) else glyph for glyph in read]
    found = [(answer["label"], answer["confidence"]) for answer in answers if not isinstance(answer, ServiceError)]
    parts.recent.add(request_id, snapshot.model, snapshot.version, glyphs, found)


def _explain(
    read: Sequence[Pixels | ServiceError], answers: Sequence[dict[str, Any] | ServiceError], snapshot: ServingModel
) -> None:
    """Add to each answer why it came out as it did."""
    glyphs = [glyph for glyph in read if not isinstance(glyph, ServiceError)]
    found = [answer for answer in answers if not isinstance(answer, ServiceError)]
    if found:
        classes = [snapshot.labels.index(answer["label"]) for answer in found]
        for answer, explanation in zip(found, explain_answers(snapshot, np.stack(glyphs), classes), strict=True):
            answer["explanation"] = explanation.to_json()


def _as_entry(answer: dict[str, Any] | ServiceError) -> dict[str, Any]:
    if isinstance(answer, ServiceError):
        return {"error": answer.detail, "code": answer.code, "status": answer.status}
    return answer
