"""What can go wrong, in the words of the domain. `app` turns these into HTTP answers; nothing here knows the web.

The status numbers are those of the map in docs/reference/errors.md; `code` is for programs, `detail` for people.
"""

from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


class ServiceError(Exception):
    """An error with an answer. Its text never holds a path, a trace, or what the caller sent."""

    status = 500
    code = "internal_error"
    title = "Internal error"

    def __init__(self, detail: str, *, field: str | None = None, retry_after_seconds: int | None = None) -> None:
        """`field` names the part of the request at fault; `retry_after_seconds` says when to try again."""
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.retry_after_seconds = retry_after_seconds


class MalformedRequest(ServiceError):
    """The body is not what it claims to be: broken JSON, broken multipart."""

    status, code, title = 400, "malformed_request", "Malformed request"


class InvalidTensor(ServiceError):
    """A request of an inference protocol that is not what the model takes."""

    status, code, title = 400, "invalid_tensor", "Invalid tensor"


class Unauthorized(ServiceError):
    """No key, or none that is known: `is_invalid` tells that one was shown."""

    status, code, title = 401, "unauthorized", "Unauthorized"

    def __init__(self, detail: str, *, is_invalid: bool = False) -> None:
        """Keep whether a key was shown, which RFC 6750 has the answer tell."""
        super().__init__(detail)
        self.is_invalid = is_invalid


class Forbidden(ServiceError):
    """A good key, but not for this."""

    status, code, title = 403, "forbidden", "Forbidden"


class CrossOrigin(Forbidden):
    """A web page of another origin would change something."""

    code, title = "cross_origin", "Cross-origin request refused"


class NotFound(ServiceError):
    """No such model, version, alias, job or route."""

    status, code, title = 404, "not_found", "Not found"


class MethodNotAllowed(ServiceError):
    """The route exists, but not for this method."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"


class RequestTooSlow(ServiceError):
    """The client did not send its request in time."""

    status, code, title = 408, "request_too_slow", "Request too slow"


class Conflict(ServiceError):
    """The state of the thing does not allow this now."""

    status, code, title = 409, "conflict", "Conflict"


class PreconditionFailed(ServiceError):
    """The thing has changed since the caller last saw it."""

    status, code, title = 412, "precondition_failed", "Precondition failed"


class PayloadTooLarge(ServiceError):
    """Too many bytes, pixels or images."""

    status, code, title = 413, "payload_too_large", "Payload too large"


class UnsupportedMediaType(ServiceError):
    """Neither an allowed kind of image nor of body."""

    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class Misdirected(ServiceError):
    """Meant for another host."""

    status, code, title = 421, "misdirected", "Misdirected request"


class InvalidInput(ServiceError):
    """Understood, but not possible: a wrong shape, an unknown setting."""

    status, code, title = 422, "invalid_input", "Invalid input"


class InvalidImage(InvalidInput):
    """An image that cannot be decoded."""

    code, title = "invalid_image", "Invalid image"


class BlankImage(InvalidInput):
    """An image with nothing on it."""

    code, title = "blank_image", "Blank image"


class HeadersTooLarge(ServiceError):
    """More headers than any client needs."""

    status, code, title = 431, "headers_too_large", "Headers too large"


class NotImplementedHere(ServiceError):
    """A part of HTTP that this server does not have: CONNECT, a Transfer-Encoding other than chunked."""

    status, code, title = 501, "not_implemented", "Not implemented"


class TooManyJobs(ServiceError):
    """The queue of training jobs is full."""

    status, code, title = 429, "too_many_jobs", "Too many jobs"


class Unavailable(ServiceError):
    """Not ready, draining or overloaded."""

    status, code, title = 503, "unavailable", "Unavailable"


class NoDiskSpace(Unavailable):
    """Not enough disk space to train, or to keep what was sent."""

    status, code, title = 507, "no_disk_space", "No disk space"


class SamplesFull(ServiceError):
    """As many samples are kept as shall be."""

    status, code, title = 507, "samples_full", "Samples full"


class CorruptModel(ServiceError):
    """A model version that does not pass its checks."""

    status, code, title = 503, "corrupt_model", "Corrupt model"


def attempt(work: Callable[[], _T]) -> _T | ServiceError:
    """Do it, or give the error that it raises."""
    try:
        return work()
    except ServiceError as error:
        return error
