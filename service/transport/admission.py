"""Admission control: so many requests are answered at once, some more may wait, and the rest is told to come back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.errors import Unavailable

_MOST_BUFFERED_BYTES = 256 * 1024**2
_OPEN = ("/health", "/v2/health", "/metrics")
_STREAM = "/events"


class Admission:
    """The door of one application; used by its event loop's thread alone."""

    def __init__(self, most_running: int, most_waiting: int) -> None:
        """Open with nobody inside."""
        self._slots, self._most_waiting = asyncio.Semaphore(most_running), most_waiting
        self._expected, self._most_expected = 0, most_running + most_waiting
        self.waiting = 0
        """Requests that wait for their turn."""
        self.buffered_bytes = 0
        """Bytes of the bodies that are in memory."""

    @staticmethod
    def busy() -> Unavailable:
        """Make the error for those that there is no place for."""
        return Unavailable("the server is busy; try again", retry_after_seconds=1)

    @property
    def is_full(self) -> bool:
        """Whether one more request would be turned away, once those that are on their way to the door have come."""
        if not self._slots.locked():
            return self._expected >= self._most_expected
        return self.waiting + self._expected >= self._most_waiting

    def expect(self, loop: asyncio.AbstractEventLoop) -> None:
        """Reckon with a request whose task the event loop has just been given, until that task has begun."""
        self._expected += 1
        loop.call_soon(self._arrive)

    def _arrive(self) -> None:
        self._expected -= 1

    def concerns(self, path: str) -> bool:
        """Tell whether a route needs a place: probes must be answered when all is full, event streams last for ever."""
        return path != "/" and not path.startswith(_OPEN) and not path.endswith(_STREAM)

    def buffer(self, count: int) -> None:
        """Note bytes taken into memory, or, when negative, let go of. Raises Unavailable when there are too many."""
        if count > 0 and self.buffered_bytes + count > _MOST_BUFFERED_BYTES:
            raise Unavailable("too much is being sent to the server at once; try again", retry_after_seconds=1)
        self.buffered_bytes += count

    @asynccontextmanager
    async def place(self) -> AsyncIterator["Place"]:
        """Wait for a place and hold it until left. Raises Unavailable when too many wait already."""
        if self._slots.locked() and self.waiting >= self._most_waiting:
            raise self.busy()
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        place = Place(self._slots)
        try:
            yield place
        finally:
            place.leave()


class Place:
    """A place in the server; left once."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        """Hold one of the slots."""
        self._slots: asyncio.Semaphore | None = slots

    def leave(self) -> None:
        """Make room for the next."""
        if self._slots is not None:
            self._slots.release()
            self._slots = None
