"""The images in a request: a multipart form, the body itself, or JSON.

Bodies are parsed here, because FastAPI's own form and JSON handling takes longer than a prediction. `predict_openapi`
describes the formats. Images are decoded before the deadline of the request, as long as its client is connected.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import orjson
from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from service.api.middleware import DisconnectedError
from service.errors import (
    BlankImage,
    InvalidImage,
    MalformedRequest,
    PayloadTooLarge,
    ServiceError,
    UnprocessableContent,
    UnsupportedMediaType,
)
from service.inference.images import QUICK_BYTES, LazyImage, decode_base64, open_image
from service.services import Services
from training.errors import DataError
from training.types import Pixels
from training.vision.glyph import normalize_glyph
from training.vision.input_spec import IMAGE_SIZE

_T = TypeVar("_T")

QUICK_PIXELS = 65_536
"""Short bodies with at most this many pixels are decoded on the event loop; a thread would take longer."""


async def decoded(request: Request, services: Services, pictures: Sequence[tuple[int, Callable[[], _T]]]) -> list[_T]:
    """Decode the images of a request, given as (pixels, function). The functions must not raise.

    Raises Unavailable if they would miss the deadline, DisconnectedError if the client has disconnected.
    """
    if not pictures or (sum(pixels for pixels, _ in pictures) <= QUICK_PIXELS and await _is_short(request)):
        return [work() for _, work in pictures]
    decoding = asyncio.ensure_future(services.decoder.decode(pictures, request.state.deadline))
    disconnecting = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait((decoding, disconnecting), return_when=asyncio.FIRST_COMPLETED)
        if not decoding.done():
            raise DisconnectedError
        return decoding.result()
    finally:
        decoding.cancel()
        disconnecting.cancel()


async def opened(request: Request, work: Callable[[], _T]) -> _T:
    """Call `work`, which opens the images of a request, in a thread unless the body is short."""
    return work() if await _is_short(request) else await asyncio.to_thread(work)


async def _is_short(request: Request) -> bool:
    """Return whether the body is so short that nothing in it can take long."""
    return len(await request.body()) <= QUICK_BYTES


async def _wait_for_disconnect(request: Request) -> None:
    """Wait until the client disconnects. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


ImageSource = Callable[[], Pixels | LazyImage]
"""Opens one image of a request; raises a ServiceError that concerns only this image."""

_MAX_FIELDS, _MAX_FILES = 8, 1000
_MALFORMED = "the form is not as RFC 7578 says: parts between lines of the boundary, each with its headers"


async def parse_images(request: Request, services: Services) -> tuple[list[ImageSource], bool]:
    """Return the images of a request, not opened yet, and whether they are a batch."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        contents = await _files(request)
        _check_count(len(contents), services)
        return [_encoded(content, services) for content in contents], len(contents) > 1
    body = await request.body()
    if kind == "application/json":
        return _json_readers(body, services)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return [_encoded(body, services)], False
    raise UnsupportedMediaType("send multipart/form-data with `file`, an image body, or application/json")


def _check_count(images: int, services: Services) -> None:
    """Raise PayloadTooLarge for more images than a request may have."""
    most = services.settings.max_batch_images
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
        raise UnprocessableContent("the form needs one or more files in the field `file`", field="file")
    return files


def _refused(reason: str) -> ServiceError:
    """Convert an error message of Starlette's form parser."""
    if reason.startswith("Too many fields"):
        return PayloadTooLarge(f"the form has more than {_MAX_FIELDS} fields besides its files")
    if reason.startswith("Too many files"):
        return PayloadTooLarge(f"the form has more than {_MAX_FILES:,} files")
    if reason.startswith("Part exceeded maximum size"):
        return PayloadTooLarge("a field of the form is larger than 1,024 KiB; an image is sent as a file")
    if "Content-Disposition" in reason:
        return MalformedRequest("each part of the form needs a name in its Content-Disposition")
    return MalformedRequest(_MALFORMED)


def _encoded(content: bytes, services: Services) -> ImageSource:
    return lambda: open_image(content, services.image_limits)


def _json_readers(body: bytes, services: Services) -> tuple[list[ImageSource], bool]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error.msg}") from None
    given = [name for name in _JSON_FORMS if isinstance(content, dict) and name in content]
    if len(given) != 1:
        raise UnprocessableContent(f"the body must be an object with exactly one of {', '.join(_JSON_FORMS)}")
    (name,) = given
    make, is_batch = _JSON_FORMS[name]
    values = content[name] if is_batch else [content[name]]
    if not isinstance(values, list) or not values:
        raise UnprocessableContent(f"`{name}` must be a list of at least one image", field=name)
    _check_count(len(values), services)  # a few kilobytes of a compressed body can be millions of values
    return [make(value, services) for value in values], is_batch


def _base64(value: Any, services: Services) -> ImageSource:
    def read() -> LazyImage:
        if not isinstance(value, str):
            raise InvalidImage("the image must be base64 text")
        try:
            content = decode_base64(value)
        except ValueError as error:
            raise InvalidImage(f"the image {error}") from None
        return open_image(content, services.image_limits)

    return read


def _pixels(value: Any, services: Services) -> ImageSource:  # noqa: ARG001 -- one type for the table
    def read() -> Pixels:
        flat = _flat(value)
        if len(flat) != IMAGE_SIZE * IMAGE_SIZE or not (kinds := set(map(type, flat))) <= {int, float}:
            raise UnprocessableContent("pixels must be 28×28 or 784 numbers")
        high = 1 if float in kinds else 255
        if min(flat) < 0 or max(flat) > high:
            raise UnprocessableContent(f"pixels must be from 0 to {high}")
        gray = np.rint(np.array(flat) * (255 / high)).astype(np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE)
        try:
            return normalize_glyph(gray)
        except DataError as error:
            raise BlankImage(str(error)) from None

    return read


def _flat(value: Any) -> list[Any]:
    """Flatten 28 rows of 28. Other lists are returned unchanged, so that long or deep lists cost nothing."""
    if not isinstance(value, list):
        return []
    if len(value) == IMAGE_SIZE and all(isinstance(row, list) and len(row) == IMAGE_SIZE for row in value):
        return [pixel for row in value for pixel in row]
    return value


_JSON_FORMS: dict[str, tuple[Callable[[Any, Services], ImageSource], bool]] = {
    "image": (_base64, False),
    "pixels": (_pixels, False),
    "images": (_base64, True),
    "instances": (_pixels, True),
}
