"""The edge of the application, around every request: its id, its size, its metrics, and the answer to any error."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from typing import TYPE_CHECKING

from service.access import Access, scope_of
from service.errors import MalformedRequest, PayloadTooLarge, ServiceError, Unavailable
from service.observability.logs import log_access
from service.observability.metrics import Metrics
from service.observability.telemetry import Telemetry, begun
from service.observability.tracing import Trace, trace_of, work
from service.problems import error_headers, problem, problem_type
from service.transport.admission import Admission

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(rb"(?!gs_)[A-Za-z0-9._-]{1,64}")  # a key that went into the wrong header is not repeated
SECURITY = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
"""On every answer; pages add a policy of their own."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def request_id_of(given: bytes) -> str:
    """Take the id that a client gave its request, if it is one, or make a new one."""
    return given.decode() if given and _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


class Edge:
    """ASGI middleware: the outermost of our own."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        access: Access,
        admission: Admission,
        body_limits: tuple[tuple[str, int], ...],
        request_seconds: float,
        logs_all: bool,
        telemetry: Telemetry | None,
    ) -> None:
        """`body_limits` gives the largest body by path prefix; the first prefix that fits counts.

        `request_seconds` is the time until an answer begins.
        """
        self._app, self._metrics, self._access, self._admission = app, metrics, access, admission
        self._body_limits, self._request_seconds, self._logs_all = body_limits, request_seconds, logs_all
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with what it belongs to."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if scope["method"] == "HEAD":
            send = _without_body(send)
        request_id, trace = request_id_of(headers.get(b"x-request-id", b"")), trace_of(headers.get(b"traceparent", b""))
        if trace is None and self._telemetry:
            trace = begun()
        scope.setdefault("state", {})["request_id"] = request_id
        traced = {"trace_id": trace.trace_id, "span_id": trace.span_id} if trace else {}
        with work(request_id=request_id, **traced):
            await self._handle(scope, receive, headers, _Answer(send, request_id, trace))

    async def _handle(self, scope: Scope, receive: Receive, headers: dict[bytes, bytes], answer: _Answer) -> None:
        """See that a request gets an answer, and count it."""
        started, asked = time.perf_counter(), scope
        if scope["method"] == "HEAD":  # whatever can be read can be asked for so, too
            asked = {**scope, "method": "GET"}
        body = _Body(receive, self._limit(scope["path"]), headers.get(b"content-length", b""), self._admission)
        self._metrics.in_flight += 1
        try:
            self._check_host(scope, headers)
            self._access.check(headers.get(b"authorization"), scope_of(scope["method"], scope["path"]))
            self._access.check_origin(scope["method"], scope["path"], scope["headers"])
            await body.read()
            await self._answer(asked, body.receive, answer.send)
        except DisconnectedError:
            answer.status = 499  # as nginx counts them; nobody gets this answer
        except Exception as error:
            if not isinstance(error, ServiceError):
                log.exception("the request failed")
                error = ServiceError("something went wrong here; the log has the request id")
            if not answer.status:
                await _send_problem(answer.send, error, answer.request_id, problem_type(scope["path"]))
        finally:
            body.forget()
            self._metrics.in_flight -= 1
            self._count(scope["method"], _route_of(asked), answer, started)

    def _count(self, method: str, route: str, answer: _Answer, started: float) -> None:
        method = method if method in _METHODS else "other"
        # An event stream may last for hours: what counts is the time until it begins.
        seconds = (answer.begun or time.perf_counter()) - started
        self._metrics.answered(route, method, answer.status, seconds)
        if self._telemetry and answer.trace:
            self._telemetry.request(answer.trace, method, route, answer.status, seconds, answer.request_id)
        if self._logs_all or (answer.status >= 500 and answer.status != 503):  # of refusals there may be thousands
            log_access(method, route, answer.status, seconds, answer.request_id)

    def _check_host(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        if len(headers) < len(scope["headers"]) and [name for name, _ in scope["headers"]].count(b"host") > 1:
            raise MalformedRequest("the request has more than one Host")  # a proxy may have looked at the other
        self._access.check_host(headers.get(b"host"))

    def _limit(self, path: str) -> int:
        return next(limit for prefix, limit in self._body_limits if path.startswith(prefix))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer when there is a place; both end with the beginning of the answer."""
        if not self._admission.concerns(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            asked = time.perf_counter()
            async with asyncio.timeout(self._request_seconds) as deadline, self._admission.place() as place:
                self._metrics.waited(time.perf_counter() - asked)
                scope["state"]["deadline"] = deadline.when()

                async def send_and_leave(message: Message) -> None:
                    deadline.reschedule(None)  # a slow reader of a long answer is no reason to cut it short
                    place.leave()
                    await send(message)

                await self._app(scope, receive, send_and_leave)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise Unavailable(
                f"there was no answer within {self._request_seconds:g} seconds", retry_after_seconds=1
            ) from None


def _route_of(scope: Scope) -> str:
    """Give the path template of the route that answered, or of the mount whose file was asked for."""
    if (route := scope.get("route")) is not None:
        return str(route.path_format)  # as the API description names it, without converters
    mount = scope.get("root_path", "").removeprefix(scope.get("app_root_path", ""))
    return f"{mount}/{{path}}" if mount else "unknown"


class _Answer:
    """The way that an answer goes: it gets the headers that all have, and is noted."""

    def __init__(self, send: Send, request_id: str, trace: Trace | None) -> None:
        self._send, self.request_id, self.trace = send, request_id, trace
        self._headers = [*SECURITY, (b"x-request-id", request_id.encode())]
        if trace:
            self._headers.append((b"traceresponse", str(trace).encode()))
        self.status, self.begun = 0, 0.0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.begun = message["status"], time.perf_counter()
            message["headers"] = [*message.get("headers", ()), *self._headers]
        await self._send(message)


class DisconnectedError(Exception):
    """The client has left before its request was complete."""


class _Body:
    """A request's body, read whole before the application begins: nobody who sends slowly takes a place."""

    def __init__(self, receive: Receive, limit: int, declared: bytes, admission: Admission) -> None:
        self._receive, self._limit, self._admission = receive, limit, admission
        self._declared = int(declared) if declared.isdigit() else 0
        self._pieces: list[bytes] = []
        self._held = 0

    async def read(self) -> None:
        """Read it to its end. Raises PayloadTooLarge as soon as that is known, MalformedRequest,
        Unavailable, or DisconnectedError."""
        if self._declared > self._limit:
            raise PayloadTooLarge(f"the body is larger than {self._limit:,} bytes")
        more = True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise DisconnectedError
            piece, more = message.get("body", b""), message.get("more_body", False)
            self._admission.buffer(len(piece))
            self._held += len(piece)
            if self._held > self._limit:
                raise PayloadTooLarge(f"the body is larger than {self._limit:,} bytes")
            self._pieces.append(piece)
        if self._declared and self._held != self._declared:  # none must count as "no body", which has a meaning
            raise MalformedRequest(f"Content-Length is {self._declared:,}, but {self._held:,} bytes came")

    async def receive(self) -> Message:
        """Give it to the application, once; then what comes after it."""
        if self._pieces:
            whole, self._pieces = b"".join(self._pieces), []
            return {"type": "http.request", "body": whole, "more_body": False}
        return await self._receive()

    def forget(self) -> None:
        """Let go of it."""
        self._admission.buffer(-self._held)


def _without_body(send: Send) -> Send:
    """Send an answer without its body; that of an event stream, which may not end for hours, ends at once."""

    has_ended = False

    async def send_rest_empty(message: Message) -> None:
        nonlocal has_ended
        is_end = message["type"] == "http.response.body" and not message.get("more_body", False)
        if message["type"] == "http.response.start":
            await send(message)
            is_end = any(value.startswith(b"text/event-stream") for _, value in message["headers"])
        if is_end and not has_ended:
            has_ended = True
            await send({"type": "http.response.body", "body": b""})

    return send_rest_empty


async def _send_problem(send: Send, error: ServiceError, request_id: str, media_type: str) -> None:
    headers = [(b"content-type", media_type.encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in error_headers(error).items()]
    body = problem(error, request_id)
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
