"""What a process tells its supervisor by a pipe: that it may start, that it is ready, and that its event loop turns."""

import asyncio
import os
from contextlib import suppress

CHECKED, READY, HEARTBEAT = b"c", b"r", b"."
HEARTBEAT_SECONDS = 1.0


def report(file_number: int, what: bytes) -> None:
    """Tell the supervisor; one that does not listen is not waited for."""
    os.set_blocking(file_number, False)
    with suppress(BlockingIOError, BrokenPipeError):
        os.write(file_number, what)


def send_heartbeats(file_number: int) -> None:
    """Send one each second from now on, as long as the running event loop turns."""
    report(file_number, HEARTBEAT)
    asyncio.get_running_loop().call_later(HEARTBEAT_SECONDS, send_heartbeats, file_number)
