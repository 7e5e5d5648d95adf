"""One connection: uvicorn's HTTP protocol with timeouts, a limit on request heads, error responses and the fast path.

A request that is accepted for the fast path gets no ASGI scope, task and response cycle. `fall_back` creates them if
the fast path cannot answer it. uvicorn is pinned, since the class overrides private methods of uvicorn's protocol.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from service.errors import HeadersTooLarge, ServiceError
from service.server import early_responses
from service.server.asgi_scope import http_scope, make_cycle
from service.server.batches import FastRequest
from service.server.fast_path import FastPath
from service.server.request_parser import Headers, RequestParser
from service.server.timeouts import SWEEP_INTERVAL_SECONDS, TimeoutProtocol
from service.services import Services

_LINGER_SECONDS = 1.0
_SHUTDOWN_SECONDS = 3.0


class _HeaderLines:
    """The default headers as bytes. uvicorn makes a new list of them, with the date, every second."""

    def __init__(self) -> None:
        self._headers: Headers | None = None
        self._lines = b""

    def get(self, headers: Headers) -> bytes:
        """Return the header lines, cached for the same list."""
        if headers is not self._headers:
            self._headers, self._lines = headers, b"".join(b"%b: %b\r\n" % header for header in headers)
        return self._lines


class Connection(TimeoutProtocol):
    """A client connection. At most one of its requests waits for the fast path."""

    def __init__(self, services: Services, fast_path: FastPath, lines: _HeaderLines, **uvicorn: Any) -> None:
        """Share the services of the application; the other arguments are those of uvicorn's protocol."""
        super().__init__(services.settings, **uvicorn)
        self._shutting_down, self._metrics = services.shutting_down, services.metrics
        self._limiter, self._fast_path, self._lines = services.limiter, fast_path, lines
        self.url, self.headers = b"", []
        self.parser = RequestParser(self)  # type: ignore[assignment]  # only the methods that it has are used here
        self._fast: FastRequest | None = None  # the request being received, if it is on the fast path
        self._fast_pending: FastRequest | None = None  # a complete request that waits for the fast path
        self._early_response: early_responses.EarlyResponse | None = None  # to be sent once the body was received
        self._deferred_error: ServiceError | None = None  # to be sent after all earlier pipelined responses

    def data_received(self, data: bytes) -> None:
        """Parse what was received."""
        if self._stage == "closing" or (self._stage == "idle" and self._try_fast_path(data)):
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._refuse(early_responses.error_from_parser(error))
        except HeadersTooLarge as error:
            self._refuse(error)

    def _try_fast_path(self, data: bytes) -> bool:
        """Pass a complete request to the fast path without the parser, which is between two requests."""
        request = None if self._shutting_down.is_set() else self._fast_path.try_accept_data(self, data)
        if request is None:
            return False
        self._fast, self._started, self.expect_100_continue = request, self.loop.time(), False
        self.on_message_complete()
        return True

    def on_message_begin(self) -> None:
        """Start a request. A request that waits for the fast path is answered first, which keeps the order."""
        self._flush_fast_path()
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._stage, self._started = "head", self.loop.time()
        self.deadline = self._started + self._settings.header_seconds - SWEEP_INTERVAL_SECONDS

    def on_headers_complete(self) -> None:
        """Decide who responds, and start the application if it is the one."""
        early_responses.check_transfer_coding(self.headers)
        self._stage, self.deadline = "body", self._started + self._settings.body_seconds - SWEEP_INTERVAL_SECONDS
        method, version = self.parser.get_method(), self.parser.get_http_version()
        keep_alive = version != "1.0" and self.parser.should_keep_alive() and not self._shutting_down.is_set()
        if keep_alive and version == "1.1" and not self._app_is_responding():
            if self.url == b"/predict" and method == b"POST":
                self._fast = self._fast_path.try_accept(self, self.headers)
            if self._fast is None and self._limiter.is_full and not self.expect_100_continue:
                self._early_response = early_responses.overload_response(self._limiter, method, self.url, self.headers)
            if self._fast or self._early_response:
                return
        self._start_app(method, self.url, self.headers, version, keep_alive=keep_alive)

    def on_body(self, body: bytes) -> None:
        """Append a chunk of the body, or drop it if the response is already known."""
        if self._fast is not None:
            self._fast.body += body
        elif not self._early_response and not self.cycle.response_complete:
            self.cycle.body += body
            if len(self.cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Have the complete request answered."""
        self._stage, self.deadline = "responding", math.inf
        if self._fast is not None:
            self._fast_pending, self._fast = self._fast, None
            self._fast_path.enqueue(self._fast_pending, is_alone=len(self.server_state.connections) == 1)
        elif self._early_response:
            response, self._early_response = self._early_response, None
            self.respond(response.head, response.body, response.status)
            self._record_early(response.status)
        elif self.cycle.response_complete:
            self._idle()
        else:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def respond(self, head: bytes, body: bytes, status: int = 200) -> None:
        """Send a response that does not come from the application: header lines and a JSON body."""
        if self.transport.is_closing():
            self._fast_pending = None
            return
        lines, is_last = self._lines.get(self.server_state.default_headers), self._shutting_down.is_set()
        # `Connection: close` on the last response, so that the client does not reuse this connection.
        length = b"\r\n%bcontent-length: %d\r\n\r\n" % (b"connection: close\r\n" if is_last else b"", len(body))
        response = b"".join((STATUS_LINE[status], lines, head, length, body))
        self._fast_pending = None
        self.transport.write(response)
        if is_last:
            self.transport.close()
        self.server_state.total_requests += 1
        if self.flow.write_paused:  # the client sends requests but does not read responses
            self.flow.pause_reading()
        self._idle()

    def fall_back(self, request: FastRequest) -> None:
        """Have the application answer the request that waits for the fast path."""
        if not self._fast_pending:  # its response was started and cannot be completed
            self.abort()
            return
        self._fast_pending = None
        if self.transport.is_closing():
            return
        keep_alive = not self._shutting_down.is_set()
        cycle = self._start_app(b"POST", b"/predict", request.headers, "1.1", keep_alive=keep_alive)
        cycle.body += request.body
        cycle.more_body = False
        cycle.message_event.set()

    def resume_writing(self) -> None:
        """Read again once the client reads its responses."""
        super().resume_writing()
        if not self._app_is_responding():
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Continue with the next request after a response of the application."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._deferred_error:
            self._close_with(self._deferred_error)
        elif self._stage == "responding":
            self._idle()
        else:  # the next request was not read while reading was paused, so its time starts now
            self.deadline = self.loop.time() + self._settings.body_seconds

    def shutdown(self) -> None:
        """Close after the requests in progress, or immediately if there are none."""
        if self._stage in ("idle", "closing") and not self._deferred_error:
            self.transport.close()
            return
        self.deadline = min(self.deadline, self.loop.time() + _SHUTDOWN_SECONDS)
        if self._app_is_responding():
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        super()._start_asgi_task(cycle, app)
        self._limiter.note_pending(self.loop)

    def _flush_fast_path(self) -> None:
        """Have the request that waits for the fast path answered now."""
        while self._fast_pending and self._fast_path.flush():
            pass
        if self._fast_pending:  # it waits for the inference thread
            self._fast_path.fall_back(self._fast_pending)

    def _app_is_responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start_app(
        self, method: bytes, url: bytes, headers: Headers, version: str, *, keep_alive: bool
    ) -> RequestResponseCycle:
        """Start the application for a request, or queue the request behind the one that is being answered."""
        self.scope = http_scope(self, method, url, headers, version)
        is_pipelined = self._app_is_responding()
        self.cycle = make_cycle(self, keep_alive=keep_alive)
        if is_pipelined:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        else:
            self._start_asgi_task(self.cycle, self.app)
        return self.cycle

    def _refuse(self, error: ServiceError) -> None:
        """Send an error, such as 400 or 408, after all earlier pipelined responses."""
        self._flush_fast_path()
        if self.transport.is_closing():
            return
        if self._stage == "body" and self.pipeline:  # the failed request is the last one in the pipeline
            self.pipeline.popleft()
        elif self._stage == "body" or not self._app_is_responding():
            self._close_with(error)
            return
        self._stage, self.deadline, self._deferred_error = "closing", math.inf, error

    def _close_with(self, error: ServiceError) -> None:
        """Send an error and close the connection after a moment in which further data are read and dropped.

        Closing with unread data would reset the connection, and the client might lose the response (RFC 9112, section
        9.6).
        """
        if self._app_is_responding():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        is_current = self._stage in ("head", "body")  # else `url` and `headers` are those of an earlier request
        request = (self.url, self.headers) if is_current else ()
        self.transport.write(early_responses.render_final_error(error, *request))
        self.transport.write_eof()
        self._record_early(error.status)
        self._stage, self.deadline = "closing", self.loop.time() + _LINGER_SECONDS

    def _record_early(self, status: int) -> None:
        self._metrics.record_responses("unknown", "other", status, self.loop.time() - self._started)


def connection_factory(services: Services) -> Callable[..., Connection]:
    """Return what uvicorn calls for each connection."""
    return functools.partial(Connection, services, FastPath(services), _HeaderLines())
