"""Responses that the connection sends without the application: parser errors, timeouts and rejections under load."""

import logging
from collections.abc import Sequence
from email.utils import formatdate
from typing import NamedTuple

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.api.limits import ConcurrencyLimiter
from service.api.middleware import SECURITY_HEADERS, accept_request_id
from service.api.problem_details import problem_response
from service.errors import MalformedRequest, NotImplementedHere, ServiceError

log = logging.getLogger(__name__)

_LIVENESS, _ALIVE = b"/health/live", b'{"live":true}'


class EarlyResponse(NamedTuple):
    """A response that does not come from the application."""

    status: int
    head: bytes
    """Header lines, without the last line break."""
    body: bytes


def check_transfer_coding(headers: list[tuple[bytes, bytes]]) -> None:
    """Raise NotImplementedHere for every transfer coding but chunked (RFC 9112, section 6.1)."""
    for name, value in headers:
        if name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            raise NotImplementedHere("the only supported Transfer-Encoding is chunked")


def error_from_parser(error: httptools.HttpParserError) -> ServiceError:
    """Return the error that a parser callback raised, or MalformedRequest if the parser itself failed."""
    cause = error.__context__
    if isinstance(cause, ServiceError):
        return cause
    if cause is not None and not isinstance(cause, UnicodeDecodeError | httptools.HttpParserError):
        log.error("a parser callback failed", exc_info=cause)
        return ServiceError("internal error; the server log has the traceback")
    return MalformedRequest("the request is not valid HTTP/1.1")


def overload_response(
    limiter: ConcurrencyLimiter, method: bytes, url: bytes, headers: list[tuple[bytes, bytes]]
) -> EarlyResponse | None:
    """Return the response to a request while the limiter is full, at a tenth of the cost of the application.

    That is 503, or 200 for the liveness probe, which must not fail under load. None for requests that the application
    must handle: those that need no slot, and HEAD, whose responses have no body.
    """
    if not url.startswith(b"/"):  # the application parses absolute targets
        return None
    path = url.partition(b"?")[0].decode("latin-1")
    request_id = accept_request_id(dict(headers).get(b"x-request-id", b""))
    if method == b"GET" and url == _LIVENESS:
        fields = {"content-type": "application/json", "x-request-id": request_id}
        return EarlyResponse(200, _header_lines(fields), _ALIVE)
    if method == b"HEAD" or not limiter.applies_to(path):
        return None
    status, fields, body = problem_response(limiter.overloaded(), path, request_id)
    return EarlyResponse(status, _header_lines(fields | {"x-request-id": request_id}), body)


def render_final_error(error: ServiceError, url: bytes = b"", headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """Render an error as the last response of a connection. `url` and `headers` are what was read of the request."""
    request_id = accept_request_id(dict(headers).get(b"x-request-id", b""))
    status, fields, body = problem_response(error, url.decode("latin-1"), request_id)
    fields |= {
        "date": formatdate(usegmt=True),
        "x-request-id": request_id,
        "content-length": str(len(body)),
        "connection": "close",
    }
    return b"".join((STATUS_LINE[status], _header_lines(fields), b"\r\n\r\n", body))


def _header_lines(fields: dict[str, str]) -> bytes:
    lines = [b"%b: %b" % header for header in SECURITY_HEADERS]
    lines += [f"{name}: {value}".encode() for name, value in fields.items()]
    return b"\r\n".join(lines)
