"""Exceptions of the service, each with an HTTP status and a stable `code`. docs/reference/errors.md lists them.

`service.api.problem_details` renders them as responses. This module does not depend on the web framework.
"""

from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


class ServiceError(Exception):
    """Base class. The text never contains a path, a traceback, or content of the request."""

    status = 500
    code = "internal_error"
    title = "Internal error"

    def __init__(self, detail: str, *, field: str | None = None, retry_after_seconds: int | None = None) -> None:
        """`field` names the invalid part of the request; `retry_after_seconds` becomes the Retry-After header."""
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.retry_after_seconds = retry_after_seconds


class MalformedRequest(ServiceError):
    """The request cannot be parsed: broken JSON, broken multipart."""

    status, code, title = 400, "malformed_request", "Malformed request"


class InvalidTensor(ServiceError):
    """A tensor that the model does not accept."""

    status, code, title = 400, "invalid_tensor", "Invalid tensor"


class Unauthorized(ServiceError):
    """The API key is missing or invalid."""

    status, code, title = 401, "unauthorized", "Unauthorized"

    def __init__(self, detail: str, *, is_invalid: bool = False) -> None:
        """`is_invalid`: a key was sent, which RFC 6750 distinguishes from a missing one."""
        super().__init__(detail)
        self.is_invalid = is_invalid


class Forbidden(ServiceError):
    """The API key is valid but lacks the scope."""

    status, code, title = 403, "forbidden", "Forbidden"


class CrossOrigin(Forbidden):
    """A state-changing request from a web page of another origin."""

    code, title = "cross_origin", "Cross-origin request refused"


class NotFound(ServiceError):
    """No such model, version, alias, job or route."""

    status, code, title = 404, "not_found", "Not found"


class MethodNotAllowed(ServiceError):
    """The route does not support the method."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"


class RequestTimeout(ServiceError):
    """The client did not send its request in time."""

    status, code, title = 408, "request_too_slow", "Request too slow"


class Conflict(ServiceError):
    """The current state does not allow the operation."""

    status, code, title = 409, "conflict", "Conflict"


class PreconditionFailed(ServiceError):
    """The resource was changed in the meantime (If-Match)."""

    status, code, title = 412, "precondition_failed", "Precondition failed"


class PayloadTooLarge(ServiceError):
    """Too many bytes, pixels or images."""

    status, code, title = 413, "payload_too_large", "Payload too large"


class UnsupportedMediaType(ServiceError):
    """Unsupported image format, content type or encoding."""

    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class MisdirectedRequest(ServiceError):
    """The Host header names another host."""

    status, code, title = 421, "misdirected", "Misdirected request"


class UnprocessableContent(ServiceError):
    """Well-formed but invalid: a wrong shape, an unknown setting."""

    status, code, title = 422, "invalid_input", "Invalid input"


class InvalidImage(UnprocessableContent):
    """An image that cannot be decoded."""

    code, title = "invalid_image", "Invalid image"


class BlankImage(UnprocessableContent):
    """An image without a glyph."""

    code, title = "blank_image", "Blank image"


class HeadersTooLarge(ServiceError):
    """The request head exceeds the limit."""

    status, code, title = 431, "headers_too_large", "Headers too large"


class NotImplementedHere(ServiceError):
    """Unsupported HTTP feature: CONNECT, a Transfer-Encoding other than chunked."""

    status, code, title = 501, "not_implemented", "Not implemented"


class TooManyJobs(ServiceError):
    """The queue of training jobs is full."""

    status, code, title = 429, "too_many_jobs", "Too many jobs"


class Unavailable(ServiceError):
    """Not ready, shutting down or overloaded."""

    status, code, title = 503, "unavailable", "Unavailable"


class InsufficientStorage(Unavailable):
    """Not enough disk space to train or to store samples."""

    status, code, title = 507, "no_disk_space", "No disk space"


class SampleQuotaExceeded(ServiceError):
    """The quota of samples is used up."""

    status, code, title = 507, "samples_full", "SampleStore full"


class CorruptModel(ServiceError):
    """A model version that fails verification."""

    status, code, title = 503, "corrupt_model", "Corrupt model"


def attempt(work: Callable[[], _T]) -> _T | ServiceError:
    """Call `work`; return its ServiceError instead of raising it."""
    try:
        return work()
    except ServiceError as error:
        return error
