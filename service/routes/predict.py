"""`POST /predict`: images in, probabilities out.

The body is read by hand, in whatever form it comes: FastAPI's own form and JSON handling cost more than reading the
digit does. What the forms are is told to OpenAPI in `OPENAPI`.
"""

import asyncio
import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Query, Request, Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from service.dependencies import Parts, PartsDep, RequestIdDep
from service.errors import (
    InvalidImage,
    InvalidInput,
    MalformedRequest,
    PayloadTooLarge,
    ServiceError,
    UnsupportedMediaType,
)
from service.images import read_glyph
from service.predictor import Snapshot
from service.schemas import MAX_VERSION, BatchPrediction, SinglePrediction
from training.arrays import Floats, Pixels
from training.errors import DataError
from training.preprocess import SIDE, to_glyph

router = APIRouter(tags=["predict"])

Reader = Callable[[], Pixels]
"""Reads one image of a request; raises a ServiceError that concerns this image alone."""

_MAX_FIELDS = 8
_PIXELS_EXAMPLE = [[0] * SIDE for _ in range(SIDE)]

OPENAPI: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
                    },
                }
            },
            **{
                f"image/{kind}": {"schema": {"type": "string", "format": "binary"}}
                for kind in ("png", "jpeg", "bmp", "gif", "webp")
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": "Exactly one of these. Pixels are 28×28 or 784 numbers, 0 is paper: whole numbers "
                    "go from 0 to 255; if any has a decimal point, all go from 0 to 1.",
                    "properties": {
                        "image": {"type": "string", "description": "An encoded image in base64."},
                        "pixels": {"type": "array", "items": {}},
                        "images": {"type": "array", "minItems": 1, "items": {"type": "string"}},
                        "instances": {"type": "array", "minItems": 1, "items": {"type": "array", "items": {}}},
                    },
                },
                "examples": {
                    "pixels": {"summary": "28×28 gray values", "value": {"pixels": _PIXELS_EXAMPLE}},
                    "image": {"summary": "a PNG in base64", "value": {"image": "iVBORw0KGgo…"}},
                },
            },
        },
    }
}


@router.post("/predict", openapi_extra=OPENAPI, response_model=SinglePrediction | BatchPrediction)
async def predict(
    request: Request,
    parts: PartsDep,
    request_id: RequestIdDep,
    model: Annotated[str | None, Query(description="Another model than the serving one.")] = None,
    version: Annotated[int | None, Query(ge=1, le=MAX_VERSION, description="A version of it.")] = None,
    alias: Annotated[str | None, Query(description="An alias of it.")] = None,
    top_k: Annotated[int | None, Query(ge=1, description="Only so many of the most probable labels.")] = None,
) -> Response:
    """Read the digit on one image, or on several: as files, as the body itself, or as JSON."""
    if model is None and version is None and alias is None:
        snapshot = parts.predictor.serving
    else:
        snapshot = await asyncio.to_thread(parts.predictor.snapshot, model, version, alias)
    readers, is_batch = await _readers(request, parts)
    if len(readers) > parts.settings.max_batch_images:
        raise PayloadTooLarge(f"{len(readers)} images; at most {parts.settings.max_batch_images} are taken at once")
    answers = _answer(readers, snapshot, parts, top_k)
    common = {"model": snapshot.model, "version": snapshot.version, "request_id": request_id}
    if is_batch:
        body: dict[str, Any] = {"predictions": [_as_entry(answer) for answer in answers], **common}
    elif isinstance(answers[0], ServiceError):
        raise answers[0]
    else:
        body = answers[0] | common
    headers = {"X-Model-Version": str(snapshot.version)}
    return Response(orjson.dumps(body), media_type="application/json", headers=headers)


def _answer(
    readers: Sequence[Reader], snapshot: Snapshot, parts: Parts, top_k: int | None
) -> list[dict[str, Any] | ServiceError]:
    """Read all images as one batch; an image that cannot be read is answered by its own error."""
    read: list[Pixels | ServiceError] = []
    for reader in readers:
        try:
            read.append(reader())
        except ServiceError as error:
            parts.metrics.rejected.labels(error.code).inc()
            read.append(error)
    glyphs = [glyph for glyph in read if not isinstance(glyph, ServiceError)]
    rows = iter(snapshot.probabilities(np.stack(glyphs)) if glyphs else ())
    answers: list[dict[str, Any] | ServiceError] = []
    for glyph in read:
        if isinstance(glyph, ServiceError):
            answers.append(glyph)
            continue
        answer = _prediction(next(rows), snapshot.labels, top_k)
        parts.metrics.predictions.labels(snapshot.model, answer["label"]).inc()
        parts.metrics.confidence.observe(answer["confidence"])
        answers.append(answer)
    return answers


def _prediction(probabilities: Floats, labels: tuple[str, ...], top_k: int | None) -> dict[str, Any]:
    order = np.argsort(-probabilities, kind="stable")[:top_k].tolist()
    values = probabilities.tolist()
    return {
        "label": labels[order[0]],
        "confidence": values[order[0]],
        "probabilities": {labels[place]: values[place] for place in order},
    }


def _as_entry(answer: dict[str, Any] | ServiceError) -> dict[str, Any]:
    if isinstance(answer, ServiceError):
        return {"error": answer.detail, "code": answer.code, "status": answer.status}
    return answer


async def _readers(request: Request, parts: Parts) -> tuple[list[Reader], bool]:
    """Find the images of a request, each still to be read, and whether they came as a batch."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        contents = await _files(request)
        return [_encoded(content, parts) for content in contents], len(contents) > 1
    body = await request.body()
    if kind == "application/json":
        return _json_readers(body, parts)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return [_encoded(body, parts)], False
    raise UnsupportedMediaType("send multipart/form-data with `file`, an image body, or application/json")


async def _files(request: Request) -> list[bytes]:
    try:
        async with request.form(max_files=1000, max_fields=_MAX_FIELDS) as form:
            parts = form.getlist("file")
            if not parts or not all(isinstance(part, UploadFile) for part in parts):
                raise InvalidInput("the form needs one or more files in the field `file`", field="file")
            return [await part.read() for part in parts if isinstance(part, UploadFile)]
    except ServiceError:
        raise
    except MultiPartException as error:
        raise MalformedRequest(f"the multipart body is malformed: {error.message}") from None
    except Exception as error:  # Starlette turns some parse errors into its own HTTPException, others it lets through
        raise MalformedRequest("the multipart body is malformed") from error


def _encoded(content: bytes, parts: Parts) -> Reader:
    return lambda: read_glyph(content, parts.image_limits)


def _json_readers(body: bytes, parts: Parts) -> tuple[list[Reader], bool]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error.msg}") from None
    given = [name for name in _JSON_FORMS if isinstance(content, dict) and name in content]
    if len(given) != 1:
        raise InvalidInput(f"the body must be an object with exactly one of {', '.join(_JSON_FORMS)}")
    (name,) = given
    make, is_batch = _JSON_FORMS[name]
    values = content[name] if is_batch else [content[name]]
    if not isinstance(values, list) or not values:
        raise InvalidInput(f"`{name}` must be a list of at least one image", field=name)
    return [make(value, parts) for value in values], is_batch


def _base64(value: Any, parts: Parts) -> Reader:
    def read() -> Pixels:
        try:
            content = base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise InvalidImage("the image is not base64 text") from None
        return read_glyph(content, parts.image_limits)

    return read


def _pixels(value: Any, parts: Parts) -> Reader:  # noqa: ARG001 -- one type for the table
    def read() -> Pixels:
        try:
            array = np.array(value)
        except ValueError:
            raise InvalidInput("pixels must be 28×28 or 784 numbers; the rows differ in length") from None
        if array.dtype.kind not in "iuf" or array.shape not in ((SIDE, SIDE), (SIDE * SIDE,)):
            raise InvalidInput("pixels must be 28×28 or 784 numbers")
        high = 1 if array.dtype.kind == "f" else 255
        if array.min() < 0 or array.max() > high:
            raise InvalidInput(f"pixels must be from 0 to {high}")
        gray = np.rint(array * (255 / high)).astype(np.uint8).reshape(SIDE, SIDE)
        try:
            return to_glyph(gray)
        except DataError as error:
            raise InvalidInput(str(error)) from None

    return read


_JSON_FORMS: dict[str, tuple[Callable[[Any, Parts], Reader], bool]] = {
    "image": (_base64, False),
    "pixels": (_pixels, False),
    "images": (_base64, True),
    "instances": (_pixels, True),
}
