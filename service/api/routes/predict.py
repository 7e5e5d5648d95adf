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
from service.inference.explain import explain as explain_classes
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
    model: Annotated[str | None, Query(description="The model; by default the serving one.")] = None,
    version: Annotated[int | None, Query(ge=1, le=MAX_VERSION, description="A version of the model.")] = None,
    alias: Annotated[str | None, Query(description="An alias of the model.")] = None,
    top_k: Annotated[int | None, Query(ge=1, description="Return only the most probable labels.")] = None,
    explain: Annotated[
        bool, Query(description="Add the input of the network and the contribution of each pixel.")
    ] = False,
) -> Response:
    """Predict the digit on one image, or on several: as files, as the body itself, or as JSON."""
    if model is None and version is None and alias is None:
        snapshot = services.predictor.route(request_id)
    else:
        snapshot = await asyncio.to_thread(services.predictor.get, model, version, alias)
    sources, is_batch = await parse_images(request, services)
    images = await _decode(request, services, sources)
    predictions = _predict(images, snapshot, services, request_id, top_k)
    if explain:
        await asyncio.to_thread(_explain, images, predictions, snapshot)
    common = {"model": snapshot.model, "version": snapshot.version, "request_id": request_id}
    if is_batch:
        body: dict[str, Any] = {"predictions": [_entry(prediction) for prediction in predictions], **common}
    elif isinstance(predictions[0], ServiceError):
        raise predictions[0]
    else:
        body = predictions[0] | common
    headers = {"X-Model-Version": str(snapshot.version)}
    content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, media_type="application/json", headers=headers)


async def _decode(request: Request, services: Services, sources: Sequence[ImageSource]) -> list[Pixels | ServiceError]:
    """Decode all images to glyphs. An image that cannot be decoded becomes its error."""
    opened_images = await opened(request, lambda: [attempt(source) for source in sources])
    lazy = [(each.pixels, partial(attempt, each.to_glyph)) for each in opened_images if isinstance(each, LazyImage)]
    glyphs = iter(await decoded(request, services, lazy))
    return [next(glyphs) if isinstance(each, LazyImage) else each for each in opened_images]


def _predict(
    images: Sequence[Pixels | ServiceError],
    snapshot: ServingModel,
    services: Services,
    request_id: str,
    top_k: int | None,
) -> list[dict[str, Any] | ServiceError]:
    """Predict all glyphs as one batch and record them. The entry of an image that could not be decoded is its error."""
    glyphs = [image for image in images if not isinstance(image, ServiceError)]
    batch = np.stack(glyphs) if glyphs else np.empty((0, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    started = time.perf_counter()
    probabilities = snapshot.predict(batch) if glyphs else np.empty((0, len(snapshot.labels)), np.float32)
    seconds = time.perf_counter() - started
    for image in images:
        if isinstance(image, ServiceError):
            services.metrics.record_rejection(image.code)
    found = format_predictions(probabilities, snapshot.labels, top_k)
    labels, confidences = [each["label"] for each in found], [each["confidence"] for each in found]
    kept = [None if isinstance(image, ServiceError) else image for image in images]
    services.recorder.record_request(request_id, snapshot, batch, labels, confidences, seconds, kept)
    rows = iter(found)
    return [image if isinstance(image, ServiceError) else next(rows) for image in images]


def _explain(
    images: Sequence[Pixels | ServiceError],
    predictions: Sequence[dict[str, Any] | ServiceError],
    snapshot: ServingModel,
) -> None:
    """Add an explanation to each prediction."""
    glyphs = [image for image in images if not isinstance(image, ServiceError)]
    found = [prediction for prediction in predictions if not isinstance(prediction, ServiceError)]
    if found:
        classes = [snapshot.labels.index(prediction["label"]) for prediction in found]
        for prediction, explanation in zip(found, explain_classes(snapshot, np.stack(glyphs), classes), strict=True):
            prediction["explanation"] = explanation.to_json()


def _entry(prediction: dict[str, Any] | ServiceError) -> dict[str, Any]:
    if isinstance(prediction, ServiceError):
        return {"error": prediction.detail, "code": prediction.code, "status": prediction.status}
    return prediction
