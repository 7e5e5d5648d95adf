"""The clock of all connections: who is past the deadline is ended."""

import asyncio
from collections.abc import Set
from typing import Any

SWEEP_SECONDS = 0.25
"""How often the clock is looked at: a deadline of a connection is set so much earlier, and never kept late."""


async def keep_deadlines(connections: Set[Any]) -> None:
    """End the connections that are past their `deadline`, in the time of the event loop, for ever."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = loop.time()
        for connection in [each for each in connections if now >= each.deadline]:
            connection.expire()
