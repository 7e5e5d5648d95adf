"""The forms in which images come to `POST /predict`: a multipart form, the body itself, or JSON.

Bodies are read by hand: FastAPI's own form and JSON handling cost more than reading the digit does. What the forms
are is told to OpenAPI in `form_docs`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from service.base64_text import decode_base64
from service.errors import (
    BlankImage,
    InvalidImage,
    InvalidInput,
    MalformedRequest,
    PayloadTooLarge,
    ServiceError,
    UnsupportedMediaType,
)
from service.images import Picture, open_picture
from service.parts import Parts
from training.errors import DataError
from training.types import Pixels
from training.vision.glyph import normalize_glyph
from training.vision.input_spec import IMAGE_SIZE

Reader = Callable[[], Pixels | Picture]
"""Reads one image of a request as far as is quick; raises a ServiceError that concerns this image alone."""

_MAX_FIELDS, _MAX_FILES = 8, 1000
_MALFORMED = "the form is not as RFC 7578 says: parts between lines of the boundary, each with its headers"


async def readers_of(request: Request, parts: Parts) -> tuple[list[Reader], bool]:
    """Find the images of a request, each still to be read, and whether they came as a batch."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        contents = await _files(request)
        _check_count(len(contents), parts)
        return [_encoded(content, parts) for content in contents], len(contents) > 1
    body = await request.body()
    if kind == "application/json":
        return _json_readers(body, parts)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return [_encoded(body, parts)], False
    raise UnsupportedMediaType("send multipart/form-data with `file`, an image body, or application/json")


def _check_count(images: int, parts: Parts) -> None:
    """Raise PayloadTooLarge for more images than one request may have."""
    most = parts.settings.max_batch_images
    if images > most:
        raise PayloadTooLarge(f"{images} images; at most {most} are taken at once")


async def _files(request: Request) -> list[bytes]:
    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary")
    if not boundary:
        raise MalformedRequest("there is no boundary in the Content-Type: let your client set it")
    if b"--" + boundary + b"--" not in await request.body():  # else a cut form would be answered with fewer images
        raise MalformedRequest(
            "the form ends without its closing boundary: it was cut short, or the Content-Type names another boundary"
        )
    try:
        async with request.form(max_files=_MAX_FILES, max_fields=_MAX_FIELDS) as form:
            parts = form.getlist("file")
            files = [await part.read() for part in parts if isinstance(part, UploadFile)]
    except HTTPException as error:  # what Starlette makes of its MultiPartException within an application
        raise _refused(error.detail) from None
    except Exception as error:  # others it lets through
        raise MalformedRequest(_MALFORMED) from error
    if not files or len(files) < len(parts):
        raise InvalidInput("the form needs one or more files in the field `file`", field="file")
    return files


def _refused(reason: str) -> ServiceError:
    """Say in our words why Starlette's parser refuses a form."""
    if reason.startswith("Too many fields"):
        return PayloadTooLarge(f"the form has more than {_MAX_FIELDS} fields besides its files")
    if reason.startswith("Too many files"):
        return PayloadTooLarge(f"the form has more than {_MAX_FILES:,} files")
    if reason.startswith("Part exceeded maximum size"):
        return PayloadTooLarge("a field of the form is larger than 1,024 KiB; an image is sent as a file")
    if "Content-Disposition" in reason:
        return MalformedRequest("each part of the form needs a name in its Content-Disposition")
    return MalformedRequest(_MALFORMED)


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
    _check_count(len(values), parts)  # a few kilobytes of a compressed body can be millions of values
    return [make(value, parts) for value in values], is_batch


def _base64(value: Any, parts: Parts) -> Reader:
    def read() -> Picture:
        if not isinstance(value, str):
            raise InvalidImage("the image must be base64 text")
        try:
            content = decode_base64(value)
        except ValueError as error:
            raise InvalidImage(f"the image {error}") from None
        return open_picture(content, parts.image_limits)

    return read


def _pixels(value: Any, parts: Parts) -> Reader:  # noqa: ARG001 -- one type for the table
    def read() -> Pixels:
        flat = _flat(value)
        if len(flat) != IMAGE_SIZE * IMAGE_SIZE or not (kinds := set(map(type, flat))) <= {int, float}:
            raise InvalidInput("pixels must be 28×28 or 784 numbers")
        high = 1 if float in kinds else 255
        if min(flat) < 0 or max(flat) > high:
            raise InvalidInput(f"pixels must be from 0 to {high}")
        gray = np.rint(np.array(flat) * (255 / high)).astype(np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE)
        try:
            return normalize_glyph(gray)
        except DataError as error:
            raise BlankImage(str(error)) from None

    return read


def _flat(value: Any) -> list[Any]:
    """Line up 28 rows of 28; looks no deeper, so that a deep or long list costs nothing."""
    if not isinstance(value, list):
        return []
    if len(value) == IMAGE_SIZE and all(isinstance(row, list) and len(row) == IMAGE_SIZE for row in value):
        return [pixel for row in value for pixel in row]
    return value


_JSON_FORMS: dict[str, tuple[Callable[[Any, Parts], Reader], bool]] = {
    "image": (_base64, False),
    "pixels": (_pixels, False),
    "images": (_base64, True),
    "instances": (_pixels, True),
}
