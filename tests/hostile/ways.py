"""Ways to send one input: whole, in pieces, and pipelined with good requests."""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress

from tests.hostile.pictures import digit, encoded
from tests.hostile.request import http

STALL_SECONDS = 60.0
MOST_OFFSETS = 200
_MOST_BY_BYTE = 1000  # the rest of a longer input comes in one piece
_STATUS = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.MULTILINE)
_PREDICT = http("/predict", encoded(digit()), "image/png").replace(b"Connection: close\r\n", b"")
_HEALTH = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def way_count(sent: bytes) -> int:
    """Count the ways to send an input."""
    return len(_FIXED) + min(MOST_OFFSETS, max(len(sent) - 1, 0))


def way(sent: bytes, number: int) -> tuple[str, list[bytes]]:
    """Name one of the ways, from 0, and give the pieces that it sends one after the other."""
    if number >= len(_FIXED):
        offset = number - len(_FIXED) + 1
        return f"in two pieces at {offset}", [sent[:offset], sent[offset:]]
    name, pieces = _FIXED[number]
    return name, pieces(sent)


_FIXED: tuple[tuple[str, Callable[[bytes], list[bytes]]], ...] = (
    ("whole", lambda sent: [sent]),
    ("byte by byte", lambda sent: [*(bytes([byte]) for byte in sent[:_MOST_BY_BYTE]), sent[_MOST_BY_BYTE:]]),
    ("behind a prediction", lambda sent: [_PREDICT + sent]),
    ("before a prediction", lambda sent: [sent + _PREDICT]),
    ("behind a look at the health", lambda sent: [_HEALTH + sent]),
    ("before a look at the health", lambda sent: [sent + _HEALTH]),
    ("behind a prediction in its turn", lambda sent: [_PREDICT, sent]),
)


async def ask(port: int, pieces: list[bytes]) -> list[int]:
    """Send pieces over a connection of its own and give the statuses of all answers, once the server has closed it.

    Raises TimeoutError when it does not.
    """
    async with asyncio.timeout(STALL_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answered = bytearray()

        async def listen() -> None:
            with suppress(OSError):
                while content := await reader.read(65_536):
                    answered.extend(content)

        async with asyncio.TaskGroup() as tasks:  # an answer may come, and must be read, before all is sent
            tasks.create_task(listen())
            with suppress(OSError):
                for piece in filter(None, pieces):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return [int(status) for status in _STATUS.findall(bytes(answered))]
