"""What is answered to a client whose bytes are no request: the one error shape, written without an application."""

import logging
from collections.abc import Sequence
from email.utils import formatdate
from typing import NamedTuple

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.errors import MalformedRequest, NotImplementedHere, ServiceError
from service.problems import error_headers, problem, problem_type
from service.transport.admission import Admission
from service.transport.edge import SECURITY, request_id_of

log = logging.getLogger(__name__)

_LIVENESS, _ALIVE = b"/health/live", b'{"live":true}'


class Answer(NamedTuple):
    """A response of the connection itself."""

    status: int
    head: bytes
    """Lines of headers, without the last line's end."""
    body: bytes


def check_transfer_coding(headers: list[tuple[bytes, bytes]]) -> None:
    """Raise NotImplementedHere for any but chunked, which alone is undone here (RFC 9112, section 6.1)."""
    for name, value in headers:
        if name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            raise NotImplementedHere("the only Transfer-Encoding that is taken is chunked; send the body without")


def reason_of(error: httptools.HttpParserError) -> ServiceError:
    """Tell what our own callbacks found from what the parser did not understand."""
    cause = error.__context__
    if isinstance(cause, ServiceError):
        return cause
    if cause is not None and not isinstance(cause, UnicodeDecodeError | httptools.HttpParserError):
        log.error("a request could not be taken", exc_info=cause)
        return ServiceError("something went wrong here; the log has more")
    return MalformedRequest("this is no HTTP request that can be understood")


def when_full(admission: Admission, method: bytes, url: bytes, headers: list[tuple[bytes, bytes]]) -> Answer | None:
    """Answer a request that finds all places taken, at a tenth of what that costs the application.

    It is told to come again, or, if it asks for nothing else, that the server lives: a crowd is no reason to restart
    it. None when the application is to answer: those that need no place, and HEAD, whose answers have no body.
    """
    if not url.startswith(b"/"):  # an absolute target: the application takes it apart
        return None
    path = url.partition(b"?")[0].decode("latin-1")
    request_id = request_id_of(dict(headers).get(b"x-request-id", b""))
    if method == b"GET" and url == _LIVENESS:
        return Answer(200, _lines({"content-type": "application/json", "x-request-id": request_id}), _ALIVE)
    if method == b"HEAD" or not admission.concerns(path):
        return None
    error = admission.busy()
    fields = {"content-type": problem_type(path), "x-request-id": request_id, **error_headers(error)}
    return Answer(error.status, _lines(fields), problem(error, request_id))


def _lines(fields: dict[str, str]) -> bytes:
    lines = [b"%b: %b" % header for header in SECURITY] + [
        f"{name}: {value}".encode() for name, value in fields.items()
    ]
    return b"\r\n".join(lines)


def as_response(error: ServiceError, url: bytes = b"", headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """Write an error as the last response of a connection, to a request of which so much was read."""
    request_id = request_id_of(dict(headers).get(b"x-request-id", b""))
    body = problem(error, request_id)
    fields = {
        "date": formatdate(usegmt=True),
        "content-type": problem_type(url.decode("latin-1")),
        "x-request-id": request_id,
        **error_headers(error),
        "content-length": str(len(body)),
        "connection": "close",
    }
    return b"".join((STATUS_LINE[error.status], _lines(fields), b"\r\n\r\n", body))
