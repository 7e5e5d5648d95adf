"""What comes to `POST /samples`: a label, with an image in any form of `POST /predict` or a request that had it."""

from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Request

from service.api.routes.image_payload import ImageSource, parse_images
from service.errors import UnprocessableContent
from service.services import Services


@dataclass(frozen=True)
class SampleSubmission:
    """A label, and either how to read the image or where it was seen."""

    label: str
    reader: ImageSource | None
    request_id: str | None = None
    place: int = 0


async def parse_submission(request: Request, services: Services, label: str | None) -> SampleSubmission:
    """Parse a submission. `label` comes from the query. Raises UnprocessableContent, or what `parse_images` raises."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    said: Any = None
    if kind == "application/json":
        content = _json(await request.body())
        said = content.get("label")
        if "request_id" in content:
            return _by_request(content, _one_label(said, label))
    sources, _ = await parse_images(request, services)
    if len(sources) != 1:
        raise UnprocessableContent(f"{len(sources)} images; send one with its label", field="label")
    if kind == "multipart/form-data":
        said = (await request.form()).get("label")  # read already: kept by the request
    return SampleSubmission(_one_label(said, label), sources[0])


def _json(body: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}  # the forms of /predict tell what is wrong with it
    return content if isinstance(content, dict) else {}


def _by_request(content: dict[str, Any], label: str) -> SampleSubmission:
    request_id, place = content["request_id"], content.get("index", 0)
    unknown = sorted(set(content) - {"request_id", "index", "label"})
    if unknown:
        raise UnprocessableContent("beside request_id there may be index and label", field=unknown[0])
    if not isinstance(request_id, str):
        raise UnprocessableContent("request_id must be text", field="request_id")
    if isinstance(place, bool) or not isinstance(place, int) or place < 0:
        raise UnprocessableContent("index must be a whole number from 0", field="index")
    return SampleSubmission(label, None, request_id, place)


def _one_label(said: Any, in_query: str | None) -> str:
    given = [label for label in (said, in_query) if label is not None]
    if not given or not all(isinstance(label, str) for label in given):
        raise UnprocessableContent("say the right label, as text", field="label")
    if len(set(given)) > 1:
        raise UnprocessableContent("the body and the query say different labels", field="label")
    return str(given[0])


_LABEL = {"type": "string", "description": "What the image shows: one of the model's labels.", "example": "7"}
_BINARY = {"type": "string", "format": "binary"}
_SEEN = {"type": "string", "description": "The request id of a prediction made a short while ago."}
_PLACE = {"type": "integer", "minimum": 0, "default": 0, "description": "Which of its images, when it had several."}
_ENCODED = {"type": "string", "format": "byte", "description": "An image in base64."}
_PIXELS = {
    "description": "28 rows of 28 gray values, or 784 in a row, as for POST /predict.",
    "type": "array",
    "items": {},
    "minItems": 28,
    "maxItems": 784,
}


def _object(optional: dict[str, Any] | None = None, **required: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": required | (optional or {})}


_JSON = {
    "schema": {
        "oneOf": [
            _object({"index": _PLACE}, request_id=_SEEN, label=_LABEL) | {"additionalProperties": False},
            _object(image=_ENCODED, label=_LABEL),
            _object(pixels=_PIXELS, label=_LABEL),
        ]
    },
    "examples": {"request": {"summary": "a prediction put right", "value": {"request_id": "6f1c2e", "label": "7"}}},
}

OPENAPI: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": _JSON,
            "multipart/form-data": {"schema": _object(file=_BINARY, label=_LABEL)},
            **{f"image/{kind}": {"schema": _BINARY} for kind in ("png", "jpeg", "bmp", "gif", "webp")},
            "application/octet-stream": {"schema": _BINARY},
        },
    }
}
