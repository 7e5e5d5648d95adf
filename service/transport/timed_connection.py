"""uvicorn's connection with deadlines: for a request's headers, its body, the time between two, and reading answers."""

from typing import Any, Literal

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import RequestTooSlow, ServiceError
from service.settings import Settings
from service.transport.deadlines import SWEEP_SECONDS, WriteProgress


class TimedConnection(HttpToolsProtocol):
    """See the module. Who extends it moves `_stage` and `deadline` on, and answers errors."""

    def __init__(self, settings: Settings, **uvicorn: Any) -> None:
        """Take the times from the settings; the rest is what uvicorn gives its protocols."""
        super().__init__(**uvicorn)
        self._settings = settings
        self._stage: Literal["waiting", "headers", "body", "answering", "refused"] = "waiting"
        self._begun = self.loop.time()
        self._writes = WriteProgress(settings.write_seconds)
        self.deadline = self.loop.time() + settings.header_seconds - SWEEP_SECONDS
        """When, in the loop's time, the client must have sent what is expected of it."""

    def check_time(self, now: float) -> None:
        """End the connection if its client neither sends nor reads in time; `now` is the loop's time."""
        if self._writes.has_stalled(self.transport, now):
            self.abort()
        elif now >= self.deadline and not self.flow.read_paused:  # when paused, it is the server that does not read
            if self._stage in ("waiting", "refused"):
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
