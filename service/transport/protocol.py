"""One connection: uvicorn's HTTP protocol with deadlines, a cap on headers, errors in the one shape, and the fast path.

uvicorn waits for ever for a request that was begun and never ended, and takes headers of any length. Here a request
has so many seconds for its headers and so many to be complete, and an idle connection is closed after a while.
`deadlines` looks at all connections a few times a second, so that a deadline costs a request nothing.

A request whose headers suit the fast path is made no ASGI scope, task and cycle; `hand_over` makes them after all when
the fast path finds that it is no case for it.
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
from service.parts import Parts
from service.transport import refusals
from service.transport.admission import Admission
from service.transport.batches import FastRequest
from service.transport.deadlines import SWEEP_SECONDS
from service.transport.fast_path import FastPath
from service.transport.request_parser import Headers, RequestParser
from service.transport.scope import cycle_of, http_scope
from service.transport.timed_connection import TimedConnection

_LINGER_SECONDS = 1.0
_LAST_SECONDS = 3.0


class _HeaderLines:
    """The headers of every answer as they are sent; uvicorn makes a new list of them, with the date, each second."""

    def __init__(self) -> None:
        self._headers: Headers | None = None
        self._lines = b""

    def of(self, headers: Headers) -> bytes:
        """Write them, or give what was written of the same list."""
        if headers is not self._headers:
            self._headers, self._lines = headers, b"".join(b"%b: %b\r\n" % header for header in headers)
        return self._lines


class Connection(TimedConnection):
    """See the module. At most one request of a connection waits for the fast path."""

    def __init__(
        self, parts: Parts, admission: Admission, fast_path: FastPath, lines: _HeaderLines, **uvicorn: Any
    ) -> None:
        """Stand on the parts of the application; the rest is what uvicorn gives its protocols."""
        super().__init__(parts.settings, **uvicorn)
        self._draining, self._metrics = parts.draining, parts.metrics
        self._admission, self._fast_path, self._lines = admission, fast_path, lines
        self.url, self.headers = b"", []
        self.parser = RequestParser(self)  # type: ignore[assignment]  # what it does not have is not asked for here
        self._fast: FastRequest | None = None  # the request that is being read, if it is one for the fast path
        self._fast_waits: FastRequest | None = None  # such a request, while it waits for its answer
        self._refusal: refusals.Answer | None = None  # the answer to it, or that it lives, when all places are taken
        self._postponed: ServiceError | None = None  # the last answer, to be given after those to earlier requests

    def data_received(self, data: bytes) -> None:
        """Parse what has come, as far as it goes."""
        if self._stage == "refused" or (self._stage == "waiting" and self._take_whole(data)):
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._refuse(refusals.reason_of(error))
        except HeadersTooLarge as error:
            self._refuse(error)

    def _take_whole(self, data: bytes) -> bool:
        """Take a request for the fast path past the parser, which stands between two requests; or take nothing."""
        request = None if self._draining.is_set() else self._fast_path.admit_whole(self, data)
        if request is None:
            return False
        self._fast, self._begun, self.expect_100_continue = request, self.loop.time(), False
        self.on_message_complete()
        return True

    def on_message_begin(self) -> None:
        """Begin a request; what waits for the fast path is answered first, so that answers keep their order."""
        self._answer_waiting()
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._stage, self._begun = "headers", self.loop.time()
        self.deadline = self._begun + self._settings.header_seconds - SWEEP_SECONDS

    def on_headers_complete(self) -> None:
        """Decide who answers, and let the application begin if it is the one."""
        refusals.check_transfer_coding(self.headers)
        self._stage, self.deadline = "body", self._begun + self._settings.body_seconds - SWEEP_SECONDS
        method, version = self.parser.get_method(), self.parser.get_http_version()
        keep_alive = version != "1.0" and self.parser.should_keep_alive() and not self._draining.is_set()
        if keep_alive and version == "1.1" and not self._busy():
            if self.url == b"/predict" and method == b"POST":
                self._fast = self._fast_path.admit(self, self.headers)
            if self._fast is None and self._admission.is_full and not self.expect_100_continue:
                self._refusal = refusals.when_full(self._admission, method, self.url, self.headers)
            if self._fast or self._refusal:
                return
        self._begin(method, self.url, self.headers, version, keep_alive=keep_alive)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body; of a request that is answered already it is dropped."""
        if self._fast is not None:
            self._fast.body += body
        elif not self._refusal and not self.cycle.response_complete:
            self.cycle.body += body
            if len(self.cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Let a request that is complete be answered."""
        self._stage, self.deadline = "answering", math.inf
        if self._fast is not None:
            self._fast_waits, self._fast = self._fast, None
            self._fast_path.take(self._fast_waits, is_alone=len(self.server_state.connections) == 1)
        elif self._refusal:
            answer, self._refusal = self._refusal, None
            self.reply(answer.head, answer.body, answer.status)
            self._metrics.answered("unknown", "other", answer.status, self.loop.time() - self._begun)
        elif self.cycle.response_complete:
            self._rest()
        else:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def reply(self, head: bytes, body: bytes, status: int = 200) -> None:
        """Answer the last request without the application, with lines of headers and a body of JSON."""
        if self.transport.is_closing():
            self._fast_waits = None
            return
        lines, last = self._lines.of(self.server_state.default_headers), self._draining.is_set()
        length = b"\r\n%bcontent-length: %d\r\n\r\n" % (b"connection: close\r\n" if last else b"", len(body))
        answer = b"".join((STATUS_LINE[status], lines, head, length, body))
        self._fast_waits = None
        self.transport.write(answer)
        if last:  # never without a word: the client would send its next request into a connection that is gone
            self.transport.close()
        self.server_state.total_requests += 1
        if self.flow.write_paused:  # a client that asks and asks and does not read
            self.flow.pause_reading()
        self._rest()

    def hand_over(self, request: FastRequest) -> None:
        """Let the application answer the request that waits for the fast path."""
        if not self._fast_waits:  # its answer has begun to leave, and cannot be completed
            self.abort()
            return
        self._fast_waits = None
        if self.transport.is_closing():
            return
        cycle = self._begin(b"POST", b"/predict", request.headers, "1.1", keep_alive=not self._draining.is_set())
        cycle.body += request.body
        cycle.more_body = False
        cycle.message_event.set()

    def resume_writing(self) -> None:
        """Go on reading from a client that reads its answers again."""
        super().resume_writing()
        if not self._busy():
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Go on with the next request once the application has answered one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._postponed:
            self._end_with(self._postponed)
        elif self._stage == "answering":
            self._rest()
        else:  # more was sent than could be read meanwhile: its time begins now
            self.deadline = self.loop.time() + self._settings.body_seconds

    def shutdown(self) -> None:
        """End when what was begun is answered: at once when there is nothing."""
        if self._stage in ("waiting", "refused") and not self._postponed:
            self.transport.close()
            return
        self.deadline = min(self.deadline, self.loop.time() + _LAST_SECONDS)
        if self._busy():
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        super()._start_asgi_task(cycle, app)
        self._admission.expect(self.loop)

    def _answer_waiting(self) -> None:
        """See that the request that waits for the fast path is answered before anything else is."""
        while self._fast_waits and self._fast_path.answer():
            pass
        if self._fast_waits:  # a thread computes it
            self._fast_path.give_up(self._fast_waits)

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _begin(
        self, method: bytes, url: bytes, headers: Headers, version: str, *, keep_alive: bool
    ) -> RequestResponseCycle:
        """Bring a request to the application, or in line behind the one that it is answering."""
        self.scope = http_scope(self, method, url, headers, version)
        waits = self._busy()
        self.cycle = cycle_of(self, keep_alive=keep_alive)
        if waits:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        else:
            self._start_asgi_task(self.cycle, self.app)
        return self.cycle

    def _refuse(self, error: ServiceError) -> None:
        """Answer what is no request, or none in time, once earlier requests are answered."""
        self._answer_waiting()
        if self.transport.is_closing():
            return
        if self._stage == "body" and self.pipeline:  # the one at fault is the last in line
            self.pipeline.popleft()
        elif self._stage == "body" or not self._busy():
            self._end_with(error)
            return
        self._stage, self.deadline, self._postponed = "refused", math.inf, error

    def _end_with(self, error: ServiceError) -> None:
        """Answer with an error, and close once what the client goes on sending was read and dropped for a moment.

        Closing on it would reset the connection, and the answer could be lost with it (RFC 9112, section 9.6).
        """
        if self._busy():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        is_its_own = self._stage in ("headers", "body")  # else what was read last was another request
        self.transport.write(refusals.as_response(error, *((self.url, self.headers) if is_its_own else ())))
        self.transport.write_eof()
        self._metrics.answered("unknown", "other", error.status, self.loop.time() - self._begun)
        self._stage, self.deadline = "refused", self.loop.time() + _LINGER_SECONDS


def connection_class(parts: Parts, admission: Admission) -> Callable[..., Connection]:
    """Make what uvicorn calls for each connection of an application."""
    return functools.partial(Connection, parts, admission, FastPath(parts), _HeaderLines())
