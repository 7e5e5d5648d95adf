"""uvicorn's HTTP protocol with timeouts for request heads, bodies, idle connections and slow readers.

There is also a maximum number of connections, so that the process does not run out of file descriptors.
"""

import asyncio
import fcntl
import math
import struct
import termios
from collections.abc import Set
from typing import Any, Literal

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.errors import RequestTimeout, ServiceError, Unavailable
from service.server.process_tuning import max_connections
from service.settings import Settings

SWEEP_INTERVAL_SECONDS = 0.25
"""How often deadlines are checked. A deadline is set this much earlier, so that it is never exceeded."""

_COUNT = struct.Struct("i")


async def check_deadlines_periodically(connections: Set[Any]) -> None:
    """Call `check_deadline` of every connection until cancelled. One timer for all costs a request nothing."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_INTERVAL_SECONDS)
        now = loop.time()
        for connection in [*connections]:
            connection.check_deadline(now)


class WriteProgress:
    """Tracks whether the client of a connection reads what is sent to it."""

    def __init__(self, timeout_seconds: float) -> None:
        """Allow so many seconds without progress while data are unread."""
        self._timeout_seconds = timeout_seconds
        self._unread = 0
        self._progress_at = 0.0

    def has_stalled(self, transport: asyncio.WriteTransport, now: float) -> bool:
        """Return whether the timeout has passed. Call this a few times a second."""
        unsent = transport.get_write_buffer_size()
        unread = unsent + _unacknowledged(transport) if unsent else 0
        if not self._unread or unread < self._unread:
            self._progress_at = now
        self._unread = unread
        return unread > 0 and now - self._progress_at >= self._timeout_seconds


def _unacknowledged(transport: asyncio.WriteTransport) -> int:
    """Return the bytes in the kernel's send buffer, 0 if unknown.

    That buffer may hold megabytes: for a slow client, it is the only place where progress is visible for a long time.
    """
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        return int(_COUNT.unpack(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(_COUNT.size)))[0])
    except (OSError, AttributeError):
        return 0


class TimeoutProtocol(HttpToolsProtocol):
    """A connection with timeouts. Subclasses update `_stage` and `deadline`, and send errors in `_refuse`."""

    def __init__(self, settings: Settings, **uvicorn: Any) -> None:
        """Read the timeouts from the settings; the other arguments are those of uvicorn's protocol."""
        super().__init__(**uvicorn)
        self._settings = settings
        self._stage: Literal["idle", "head", "body", "responding", "closing"] = "idle"
        self._started = self.loop.time()
        self._running: RequestResponseCycle | None = None
        self._writes = WriteProgress(settings.write_seconds)
        self.deadline = self.loop.time() + settings.header_seconds - SWEEP_INTERVAL_SECONDS
        """When, by the loop's clock, the client must have sent what is expected next."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection. If there are too many, evict another one.

        An idle connection is evicted first, else one whose request is still being received.
        """
        super().connection_made(transport)
        if len(self.connections) > max_connections():
            others = (each for each in self.connections if isinstance(each, TimeoutProtocol) and each is not self)
            candidates = (each for each in others if each.deadline < math.inf and not each.transport.is_closing())
            min(candidates, key=lambda each: (not each.is_idle, each.deadline), default=self).evict()

    def connection_lost(self, exc: Exception | None) -> None:
        """Notify the running request as well; uvicorn notifies only the newest one of a pipeline."""
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress."""
        return self._stage in ("idle", "closing")

    def evict(self) -> None:
        """Close the connection because there are too many; send 503 if a request had started."""
        if self.is_idle and self.deadline < math.inf:
            self.transport.close()
        else:
            self._refuse(Unavailable("there are too many connections; try again", retry_after_seconds=1))

    def check_deadline(self, now: float) -> None:
        """Close a timed-out connection; send 408 if a request had started. `now` is the loop's time."""
        if self._writes.has_stalled(self.transport, now):
            self.abort()
        elif now >= self.deadline and not self.flow.read_paused:  # while paused, the server is the one that waits
            if self.is_idle:
                self.transport.close()
            else:
                self._refuse(RequestTimeout("the request was not complete in time"))

    def abort(self) -> None:
        """Close the connection immediately and discard unsent data."""
        self.transport.abort()

    def _idle(self) -> None:
        """Wait for the next request."""
        self._stage, self.deadline = "idle", self.loop.time() + self._settings.idle_seconds

    def _refuse(self, error: ServiceError) -> None:
        raise NotImplementedError
