"""The one shape of all errors (RFC 9457)."""

import orjson

from service.errors import ServiceError, Unauthorized

_MOST_CHARACTERS = 500


def problem(error: ServiceError, request_id: str) -> bytes:
    """Write an error in the one shape that all errors have (RFC 9457)."""
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


def problem_type(path: str) -> str:
    """Give the media type of an error: clients of the inference protocols read `error` from plain JSON alone."""
    is_inference = path in ("/v1", "/v2") or path.startswith(("/v1/", "/v2/"))
    return "application/json" if is_inference else "application/problem+json"


def error_headers(error: ServiceError) -> dict[str, str]:
    """Give the headers that belong to an error."""
    headers = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if error.is_invalid else "Bearer"
    return headers


def _clean(text: str) -> str:
    """Keep text short and writable: a setting's name, echoed, may be long or hold half a character."""
    return text[:_MOST_CHARACTERS].encode(errors="replace").decode()
