"""The edge of the application, around every request: its id, its size, its metrics, and the answer to any error."""

import logging
import re
import time
import uuid

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import PayloadTooLarge, ServiceError
from service.metrics import Metrics

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_DISCARDED_SECONDS = 10.0
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


def _clean(text: str) -> str:
    """Keep text short and writable: a setting's name, echoed, may be long or hold half a character."""
    return text[:_MOST_CHARACTERS].encode(errors="replace").decode()


class Edge:
    """ASGI middleware: the outermost of our own."""

    def __init__(self, app: ASGIApp, metrics: Metrics, body_limits: tuple[tuple[str, int], ...]) -> None:
        """`body_limits` gives the largest body by path prefix; the first prefix that fits counts."""
        self._app, self._metrics, self._body_limits = app, metrics, body_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and see that it gets an answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        limit = next(limit for prefix, limit in self._body_limits if scope["path"].startswith(prefix))
        declared = headers.get(b"content-length", b"")
        body = _LimitedBody(receive, limit, int(declared) if declared.isdigit() else 0)
        status, started = 0, time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, body.receive, send_with_id)
        except Exception as error:
            if not isinstance(error, ServiceError):
                log.exception("request %s failed", request_id)
                error = ServiceError("something went wrong here; the log has the request id")
            if not status:
                await _send_problem(send_with_id, error, request_id, problem_type(scope["path"]))
        finally:
            self._metrics.in_flight.dec()
            route = getattr(scope.get("route"), "path", "unknown")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.answered(route, method, status, time.perf_counter() - started)
        await body.discard_rest()


class _LimitedBody:
    """A request's body that ends in an error when it grows too long, or at once when it is said to."""

    def __init__(self, receive: Receive, limit: int, declared: int) -> None:
        self._receive, self._limit, self._declared, self._seen, self._ended = receive, limit, declared, 0, False

    async def receive(self) -> Message:
        if self._declared > self._limit:
            raise PayloadTooLarge(f"the body is larger than {self._limit:,} bytes")
        message = await self._receive()
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
            if self._seen > self._limit:
                raise PayloadTooLarge(f"the body is larger than {self._limit:,} bytes")
        else:
            self._ended = True
        return message

    async def discard_rest(self) -> None:
        """Read what a client goes on sending after its answer: closing on it could lose the answer on the way."""
        deadline = time.monotonic() + _DISCARDED_SECONDS
        while self._seen > self._limit and not self._ended and time.monotonic() < deadline:
            message = await self._receive()
            self._ended = message["type"] != "http.request" or not message.get("more_body", False)


async def _send_problem(send: Send, error: ServiceError, request_id: str, media_type: str) -> None:
    headers = [(b"content-type", media_type.encode())]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": problem(error, request_id)})
