"""`POST /predict`: images in, probabilities out."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Query, Request, Response

from service.api.dependencies import RequestIdDep, ServicesDep
from service.api.routes.image_payload import ImageSource, decoded, opened, parse_images
from service.api.routes.predict_openapi import OPENAPI
from service.api.schemas import BatchPrediction, SinglePrediction
from service.errors import ServiceError, attempt
from service.inference.explain import explain as explain_answers
from service.inference.images import LazyImage
from service.inference.predictions import format_predictions
from service.schemas import MAX_VERSION
from service.services import Services
from service.serving.model import ServingModel
from training.types import Pixels
from training.vision.input_spec import IMAGE_SIZE

router = APIRouter(tags=["predict"])


@router.post("/predict", openapi_extra=OPENAPI, response_model=SinglePrediction | BatchPrediction)
async def predict(
    request: Request,
    services: ServicesDep,
    request_id: RequestIdDep,
    model: Annotated[str | None, Query(description="Another model than the serving one.")] = None,
    version: Annotated[int | None, Query(ge=1, le=MAX_VERSION, description="A version of it.")] = None,
    alias: Annotated[str | None, Query(description="An alias of it.")] = None,
    top_k: Annotated[int | None, Query(ge=1, description="Only so many of the most probable labels.")] = None,
    explain: Annotated[bool, Query(description="Say what the network saw, and which pixels made the answer.")] = False,
) -> Response:
    """Read the digit on one image, or on several: as files, as the body itself, or as JSON."""
    if model is None and version is None and alias is None:
        snapshot = services.predictor.route(request_id)
    else:
        snapshot = await asyncio.to_thread(services.predictor.get, model, version, alias)
    sources, is_batch = await parse_images(request, services)
    glyphs = await _glyphs(request, services, sources)
    answers = _answer(glyphs, snapshot, services, request_id, top_k)
    _remember(services, request_id, snapshot, glyphs, answers)
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


async def _glyphs(request: Request, services: Services, sources: Sequence[ImageSource]) -> list[Pixels | ServiceError]:
    """Read all images; one that cannot be read becomes its own error."""
    read = await opened(request, lambda: [attempt(reader) for reader in sources])
    pictures = [(each.pixels, partial(attempt, each.to_glyph)) for each in read if isinstance(each, LazyImage)]
    glyphs = iter(await decoded(request, services, pictures))
    return [next(glyphs) if isinstance(each, LazyImage) else each for each in read]


def _answer(
    read: Sequence[Pixels | ServiceError],
    snapshot: ServingModel,
    services: Services,
    request_id: str,
    top_k: int | None,
) -> list[dict[str, Any] | ServiceError]:
    """Let the network see all glyphs as one batch; an image that could not be read is answered by its error."""
    glyphs = [glyph for glyph in read if not isinstance(glyph, ServiceError)]
    batch = np.stack(glyphs) if glyphs else np.empty((0, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    started = time.perf_counter()
    probabilities = snapshot.predict(batch) if glyphs else np.empty((0, len(snapshot.labels)), np.float32)
    seconds = time.perf_counter() - started
    rows = iter(format_predictions(probabilities, snapshot.labels, top_k))
    answers: list[dict[str, Any] | ServiceError] = []
    for glyph in read:
        if isinstance(glyph, ServiceError):
            services.metrics.record_rejection(glyph.code)
            answers.append(glyph)
            continue
        answers.append(next(rows))
    found = [answer for answer in answers if not isinstance(answer, ServiceError)]
    labels = [answer["label"] for answer in found]
    services.metrics.record_predictions(snapshot, batch, labels, [answer["confidence"] for answer in found], seconds)
    if services.telemetry and labels:
        services.telemetry.record_inference(snapshot.model, snapshot.version, len(labels), seconds)
    services.predictor.mirror(request_id, snapshot, batch, labels)
    return answers


def _remember(
    services: Services,
    request_id: str,
    snapshot: ServingModel,
    read: Sequence[Pixels | ServiceError],
    answers: Sequence[dict[str, Any] | ServiceError],
) -> None:
    """Keep the images for a while, so that a correction may name this request."""
    glyphs = [None if isinstance(glyph, ServiceError) else glyph for glyph in read]
    found = [(answer["label"], answer["confidence"]) for answer in answers if not isinstance(answer, ServiceError)]
    services.recent.add(request_id, snapshot.model, snapshot.version, glyphs, found)


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
