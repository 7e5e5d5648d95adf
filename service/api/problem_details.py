"""Errors as problem details (RFC 9457). Every error response of the service is rendered here."""

from typing import NamedTuple

import orjson

from service.errors import ServiceError, Unauthorized

_MAX_CHARACTERS = 500


class ProblemResponse(NamedTuple):
    """An error response."""

    status: int
    headers: dict[str, str]
    """Names in lower case, with the content type and without the content length."""
    body: bytes


def problem_response(error: ServiceError, path: str, request_id: str) -> ProblemResponse:
    """Render an error as the response to a request for `path`."""
    headers = {"content-type": problem_media_type(path), **error_headers(error)}
    return ProblemResponse(error.status, headers, render_problem(error, request_id))


def render_problem(error: ServiceError, request_id: str) -> bytes:
    """Return the problem details of an error as JSON."""
    detail, field = _clean(error.detail), _clean(error.field or "")
    body = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": detail,
        "code": error.code,
        "error": detail,
        "request_id": request_id,
    }
    return orjson.dumps(body | ({"field": field} if field else {}))


def problem_media_type(path: str) -> str:
    """Return the media type of errors at a path. Clients of the inference protocols expect plain JSON."""
    is_inference = path in ("/v1", "/v2") or path.startswith(("/v1/", "/v2/"))
    return "application/json" if is_inference else "application/problem+json"


def error_headers(error: ServiceError) -> dict[str, str]:
    """Return the headers `retry-after` and `www-authenticate` where the error has them."""
    headers = {}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(error.retry_after_seconds)
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = 'Bearer error="invalid_token"' if error.is_invalid else "Bearer"
    return headers


def _clean(text: str) -> str:
    """Truncate the text and replace lone surrogates: it may repeat the name of a setting from the request."""
    return text[:_MAX_CHARACTERS].encode(errors="replace").decode()
