"""uvicorn's connection with deadlines: for a request's headers, its body, the time between two, and reading answers.

There is also a largest number of connections, so that the process never runs out of file descriptors.
"""

import asyncio
import math
from typing import Any, Literal

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.errors import RequestTooSlow, ServiceError, Unavailable
from service.settings import Settings
from service.transport.deadlines import SWEEP_SECONDS, WriteProgress
from service.transport.descriptors import most_connections


class TimedConnection(HttpToolsProtocol):
    """See the module. Who extends it moves `_stage` and `deadline` on, and answers errors."""

    def __init__(self, settings: Settings, **uvicorn: Any) -> None:
        """Take the times from the settings; the rest is what uvicorn gives its protocols."""
        super().__init__(**uvicorn)
        self._settings = settings
        self._stage: Literal["waiting", "headers", "body", "answering", "refused"] = "waiting"
        self._begun = self.loop.time()
        self._running: RequestResponseCycle | None = None
        self._writes = WriteProgress(settings.write_seconds)
        self.deadline = self.loop.time() + settings.header_seconds - SWEEP_SECONDS
        """When, in the loop's time, the client must have sent what is expected of it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; where there are too many connections, another makes room.

        It is one that has nothing to be answered if there is any, else one whose request is still being read.
        """
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            others = (each for each in self.connections if isinstance(each, TimedConnection) and each is not self)
            reading = (each for each in others if each.deadline < math.inf and not each.transport.is_closing())
            first = min(reading, key=lambda each: (not each.is_idle, each.deadline), default=self)
            first.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered, too, and not the newest alone, that nobody reads its answer."""
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    @property
    def is_idle(self) -> bool:
        """Whether nothing was asked that is not answered."""
        return self._stage in ("waiting", "refused")

    def make_room(self) -> None:
        """End the connection, since there are too many; with a word if a request was begun."""
        if self.is_idle and self.deadline < math.inf:
            self.transport.close()
        else:
            self._refuse(Unavailable("there are too many connections; try again", retry_after_seconds=1))

    def check_time(self, now: float) -> None:
        """End the connection if its client neither sends nor reads in time; `now` is the loop's time."""
        if self._writes.has_stalled(self.transport, now):
            self.abort()
        elif now >= self.deadline and not self.flow.read_paused:  # when paused, it is the server that does not read
            if self.is_idle:
                self.transport.close()
            else:
                self._refuse(RequestTooSlow("the request was not complete in time"))

    def abort(self) -> None:
        """End the connection at once, whatever was to be sent on it."""
        self.transport.abort()

    def _rest(self) -> None:
        """Wait for the next request."""
        self._stage, self.deadline = "waiting", self.loop.time() + self._settings.idle_seconds

    def _refuse(self, error: ServiceError) -> None:
        raise NotImplementedError
