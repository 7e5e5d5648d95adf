"""Outermost ASGI middleware: request IDs, authorization, body limits, metrics and error responses."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from typing import TYPE_CHECKING

from service.api.auth import Authorizer, required_scope
from service.api.limits import ConcurrencyLimiter
from service.api.problem_details import problem_response
from service.errors import MalformedRequest, PayloadTooLarge, ServiceError, Unavailable
from service.observability.logs import log_access
from service.observability.metrics import Metrics
from service.observability.telemetry import Telemetry, new_trace
from service.observability.tracing import Trace, bound_log_context, parse_traceparent

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(rb"(?!gs_)[A-Za-z0-9._-]{1,64}")  # not an API key that was sent in the wrong header
SECURITY_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
"""Headers of every response. Pages add a Content-Security-Policy."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that disconnected before the response


def accept_request_id(header: bytes) -> str:
    """Return the value of X-Request-ID if it is valid, else a new ID."""
    return header.decode() if header and _REQUEST_ID.fullmatch(header) else os.urandom(16).hex()


class RequestMiddleware:
    """The outermost middleware of the application."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        authorizer: Authorizer,
        limiter: ConcurrencyLimiter,
        body_limits: tuple[tuple[str, int], ...],
        request_seconds: float,
        logs_all: bool,
        telemetry: Telemetry | None,
    ) -> None:
        """`body_limits` lists the maximum body size by path prefix; the first matching prefix applies.

        `request_seconds` is the time limit for the start of a response.
        """
        self._app, self._metrics, self._authorizer, self._limiter = app, metrics, authorizer, limiter
        self._body_limits, self._request_seconds, self._logs_all = body_limits, request_seconds, logs_all
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Bind the request ID and the trace to the log context, and handle the request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if scope["method"] == "HEAD":
            send = _without_body(send)
        request_id = accept_request_id(headers.get(b"x-request-id", b""))
        trace = parse_traceparent(headers.get(b"traceparent", b""))
        if trace is None and self._telemetry:
            trace = new_trace()
        scope.setdefault("state", {})["request_id"] = request_id
        ids = {"trace_id": trace.trace_id, "span_id": trace.span_id} if trace else {}
        with bound_log_context(request_id=request_id, **ids):
            await self._handle(scope, receive, headers, _ResponseSender(send, request_id, trace))

    async def _handle(
        self, scope: Scope, receive: Receive, headers: dict[bytes, bytes], sender: _ResponseSender
    ) -> None:
        """Send exactly one response to a request, and record it."""
        started, app_scope = time.perf_counter(), scope
        if scope["method"] == "HEAD":  # every GET route also supports HEAD
            app_scope = {**scope, "method": "GET"}
        body = _Body(receive, self._limit(scope["path"]), headers.get(b"content-length", b""), self._limiter)
        self._metrics.in_flight += 1
        try:
            self._check_host(scope, headers)
            self._authorizer.authorize(headers.get(b"authorization"), required_scope(scope["method"], scope["path"]))
            self._authorizer.check_origin(scope["method"], scope["path"], scope["headers"])
            await body.read()
            await self._run_app(app_scope, body.receive, sender.send)
        except DisconnectedError:
            sender.status = _CLIENT_CLOSED_REQUEST
        except Exception as error:
            if not isinstance(error, ServiceError):
                log.exception("the request failed")
                error = ServiceError("internal error; search the server log for the request id")
            if not sender.status:
                await sender.send_error(error, scope["path"])
        finally:
            body.release()
            self._metrics.in_flight -= 1
            self._record(scope["method"], _route_of(app_scope), sender, started)

    def _record(self, method: str, route: str, sender: _ResponseSender, started: float) -> None:
        method = method if method in _METHODS else "other"
        # The time until the response started: an event stream may last for hours.
        seconds = (sender.started or time.perf_counter()) - started
        self._metrics.record_responses(route, method, sender.status, seconds)
        if self._telemetry and sender.trace:
            self._telemetry.record_request(sender.trace, method, route, sender.status, seconds, sender.request_id)
        if self._logs_all or (sender.status >= 500 and sender.status != 503):  # overload causes thousands of 503s
            log_access(method, route, sender.status, seconds, sender.request_id)

    def _check_host(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        if len(headers) < len(scope["headers"]) and [name for name, _ in scope["headers"]].count(b"host") > 1:
            raise MalformedRequest("the request has more than one Host header")  # a proxy may have used the other one
        self._authorizer.check_host(headers.get(b"host"))

    def _limit(self, path: str) -> int:
        return next(limit for prefix, limit in self._body_limits if path.startswith(prefix))

    async def _run_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application in a slot. The slot and the time limit end when the response starts."""
        if not self._limiter.applies_to(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            queued = time.perf_counter()
            async with asyncio.timeout(self._request_seconds) as deadline, self._limiter.slot() as slot:
                self._metrics.record_queue_wait(time.perf_counter() - queued)
                scope["state"]["deadline"] = deadline.when()

                async def send_and_release(message: Message) -> None:
                    deadline.reschedule(None)  # a client that reads a long response slowly is not cut off
                    slot.release()
                    await send(message)

                await self._app(scope, receive, send_and_release)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise Unavailable(
                f"the response did not start within {self._request_seconds:g} seconds", retry_after_seconds=1
            ) from None


def _route_of(scope: Scope) -> str:
    """Return the path template of the route that matched, or of the mounted folder."""
    if (route := scope.get("route")) is not None:
        return str(route.path_format)  # as in the OpenAPI description, without convertors
    mount = scope.get("root_path", "").removeprefix(scope.get("app_root_path", ""))
    return f"{mount}/{{path}}" if mount else "unknown"


class _ResponseSender:
    """Wraps `send` to add common headers and record the status."""

    def __init__(self, send: Send, request_id: str, trace: Trace | None) -> None:
        self._send, self.request_id, self.trace = send, request_id, trace
        self._headers = [*SECURITY_HEADERS, (b"x-request-id", request_id.encode())]
        if trace:
            self._headers.append((b"traceresponse", str(trace).encode()))
        self.status, self.started = 0, 0.0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.started = message["status"], time.perf_counter()
            message["headers"] = [*message.get("headers", ()), *self._headers]
        await self._send(message)

    async def send_error(self, error: ServiceError, path: str) -> None:
        status, fields, body = problem_response(error, path, self.request_id)
        headers = [(name.encode(), value.encode()) for name, value in fields.items()]
        headers.append((b"content-length", str(len(body)).encode()))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


class DisconnectedError(Exception):
    """The client disconnected before its request was complete."""


class _Body:
    """A request body, buffered before the application runs, so that slow uploads do not occupy a slot."""

    def __init__(self, receive: Receive, limit: int, content_length: bytes, limiter: ConcurrencyLimiter) -> None:
        self._receive, self._limit, self._limiter = receive, limit, limiter
        self._content_length = int(content_length) if content_length.isdigit() else 0
        self._chunks: list[bytes] = []
        self._size = 0

    async def read(self) -> None:
        """Read the whole body.

        Raises PayloadTooLarge as early as possible, MalformedRequest, Unavailable or DisconnectedError.
        """
        if self._content_length > self._limit:
            raise PayloadTooLarge(f"the body is larger than {self._limit:,} bytes")
        more = True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise DisconnectedError
            chunk, more = message.get("body", b""), message.get("more_body", False)
            self._limiter.account_bytes(len(chunk))
            self._size += len(chunk)
            if self._size > self._limit:
                raise PayloadTooLarge(f"the body is larger than {self._limit:,} bytes")
            self._chunks.append(chunk)
        if self._content_length and self._size != self._content_length:  # an empty body would mean default settings
            raise MalformedRequest(f"Content-Length is {self._content_length:,}, but the body has {self._size:,} bytes")

    async def receive(self) -> Message:
        """Return the whole body as one message, then the messages after it."""
        if self._chunks:
            whole, self._chunks = b"".join(self._chunks), []
            return {"type": "http.request", "body": whole, "more_body": False}
        return await self._receive()

    def release(self) -> None:
        """Subtract the body from the bytes in memory."""
        self._limiter.account_bytes(-self._size)


def _without_body(send: Send) -> Send:
    """Drop the body of a response to HEAD. The response of an event stream ends at once."""
    has_ended = False

    async def send_without_body(message: Message) -> None:
        nonlocal has_ended
        is_end = message["type"] == "http.response.body" and not message.get("more_body", False)
        if message["type"] == "http.response.start":
            await send(message)
            is_end = any(value.startswith(b"text/event-stream") for _, value in message["headers"])
        if is_end and not has_ended:
            has_ended = True
            await send({"type": "http.response.body", "body": b""})

    return send_without_body
