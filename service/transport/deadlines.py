"""The clock of all connections: a client that does not send or does not read in time is let go."""

import asyncio
import fcntl
import struct
import termios
from collections.abc import Set
from typing import Any

SWEEP_SECONDS = 0.25
"""How often the clock is looked at: a deadline of a connection is set so much earlier, and never kept late."""

_COUNT = struct.Struct("i")


async def keep_deadlines(connections: Set[Any]) -> None:
    """Have each connection check its time, in the time of the event loop, for ever."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = loop.time()
        for connection in [*connections]:
            connection.check_time(now)


class WriteProgress:
    """Whether the client of a connection takes what is written to it."""

    def __init__(self, most_seconds: float) -> None:
        """Allow a client that has something to read so many seconds without reading any of it."""
        self._most_seconds = most_seconds
        self._unread = 0
        self._since = 0.0

    def has_stalled(self, transport: asyncio.WriteTransport, now: float) -> bool:
        """Tell whether the client has not read for too long. To be asked a few times a second."""
        unsent = transport.get_write_buffer_size()
        unread = unsent + _unacknowledged(transport) if unsent else 0
        if not self._unread or unread < self._unread:
            self._since = now
        self._unread = unread
        return unread > 0 and now - self._since >= self._most_seconds


def _unacknowledged(transport: asyncio.WriteTransport) -> int:
    """Count the bytes that the kernel has taken and the client has not, where that can be asked.

    The kernel's buffer may hold megabytes: a client that reads slowly makes progress there alone for a long time.
    """
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        return int(_COUNT.unpack(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(_COUNT.size)))[0])
    except (OSError, AttributeError):
        return 0
