"""The forms in which images come to `POST /predict`: a multipart form, the body itself, or JSON.

Bodies are read by hand: FastAPI's own form and JSON handling cost more than reading the digit does. What the forms
are is told to OpenAPI in `form_docs`.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from service.errors import (
    BlankImage,
    InvalidImage,
    InvalidInput,
    MalformedRequest,
    ServiceError,
    UnsupportedMediaType,
)
from service.images import Picture, open_picture
from service.parts import Parts
from training.arrays import Pixels
from training.errors import DataError
from training.preprocess import SIDE, to_glyph

Reader = Callable[[], Pixels | Picture]
"""Reads one image of a request as far as is quick; raises a ServiceError that concerns this image alone."""

_MAX_FIELDS = 8


async def readers_of(request: Request, parts: Parts) -> tuple[list[Reader], bool]:
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
    return lambda: open_picture(content, parts.image_limits)


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
    def read() -> Picture:
        try:
            content = base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise InvalidImage("the image is not base64 text") from None
        return open_picture(content, parts.image_limits)

    return read


def _pixels(value: Any, parts: Parts) -> Reader:  # noqa: ARG001 -- one type for the table
    def read() -> Pixels:
        flat = _flat(value)
        kinds = set(map(type, flat))
        if len(flat) != SIDE * SIDE or not kinds <= {int, float}:
            raise InvalidInput("pixels must be 28×28 or 784 numbers")
        high = 1 if float in kinds else 255
        if min(flat) < 0 or max(flat) > high:
            raise InvalidInput(f"pixels must be from 0 to {high}")
        gray = np.rint(np.array(flat) * (255 / high)).astype(np.uint8).reshape(SIDE, SIDE)
        try:
            return to_glyph(gray)
        except DataError as error:
            raise BlankImage(str(error)) from None

    return read


def _flat(value: Any) -> list[Any]:
    """Line up 28 rows of 28; looks no deeper, so that a deep or long list costs nothing."""
    if not isinstance(value, list):
        return []
    if len(value) == SIDE and all(isinstance(row, list) and len(row) == SIDE for row in value):
        return [pixel for row in value for pixel in row]
    return value


_JSON_FORMS: dict[str, tuple[Callable[[Any, Parts], Reader], bool]] = {
    "image": (_base64, False),
    "pixels": (_pixels, False),
    "images": (_base64, True),
    "instances": (_pixels, True),
}
