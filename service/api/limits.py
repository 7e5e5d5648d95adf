"""Admission control: a limited number of requests run at once, some more may wait, the rest are rejected with 503."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.errors import Unavailable

_MAX_BUFFERED_BYTES = 256 * 1024**2
_UNLIMITED = ("/health", "/v2/health", "/metrics")
_STREAM = "/events"


class ConcurrencyLimiter:
    """Limits concurrent requests. Not thread-safe; call from the event loop."""

    def __init__(self, max_running: int, max_waiting: int) -> None:
        """Start without requests."""
        self._slots, self._max_waiting = asyncio.Semaphore(max_running), max_waiting
        self._pending, self._max_pending = 0, max_running + max_waiting
        self.waiting = 0
        """Requests that wait for a slot."""
        self.buffered_bytes = 0
        """Bytes of request bodies in memory."""

    @staticmethod
    def overloaded() -> Unavailable:
        """Return the error for a request that is rejected."""
        return Unavailable("the server is busy; try again", retry_after_seconds=1)

    @property
    def is_full(self) -> bool:
        """Whether another request would be rejected once all scheduled requests have started."""
        if not self._slots.locked():
            return self._pending >= self._max_pending
        return self.waiting + self._pending >= self._max_waiting

    def note_pending(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count a request that is scheduled but has not started yet."""
        self._pending += 1
        loop.call_soon(self._start)

    def _start(self) -> None:
        self._pending -= 1

    def applies_to(self, path: str) -> bool:
        """Return whether a route needs a slot. Probes must succeed under load; event streams last for hours."""
        return path != "/" and not path.startswith(_UNLIMITED) and not path.endswith(_STREAM)

    def account_bytes(self, count: int) -> None:
        """Add to the bytes in memory; negative when they are released. Raises Unavailable above the limit."""
        if count > 0 and self.buffered_bytes + count > _MAX_BUFFERED_BYTES:
            raise Unavailable("the server is receiving too much data; try again", retry_after_seconds=1)
        self.buffered_bytes += count

    @asynccontextmanager
    async def slot(self) -> AsyncIterator["Slot"]:
        """Wait for a slot and hold it while the block runs. Raises Unavailable if too many requests wait."""
        if self._slots.locked() and self.waiting >= self._max_waiting:
            raise self.overloaded()
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        slot = Slot(self._slots)
        try:
            yield slot
        finally:
            slot.release()


class Slot:
    """The permission to run."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        """Hold a slot that was acquired."""
        self._slots: asyncio.Semaphore | None = slots

    def release(self) -> None:
        """Release the slot; the second call does nothing."""
        if self._slots is not None:
            self._slots.release()
            self._slots = None
