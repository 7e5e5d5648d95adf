"""The pictures of a request decoded before its deadline, as long as its client is there."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from fastapi import Request

from service.parts import Parts
from service.transport.edge import DisconnectedError

_T = TypeVar("_T")

QUICK_PIXELS = 65_536
"""Images of so many pixels together are decoded on the event loop: a thread would cost more than it saves."""


async def decoded(request: Request, parts: Parts, pictures: Sequence[tuple[int, Callable[[], _T]]]) -> list[_T]:
    """Decode pictures, each given by its pixels and a function, which must not raise.

    Raises Unavailable when they will not be done in time, DisconnectedError when the client has left.
    """
    if sum(pixels for pixels, _ in pictures) <= QUICK_PIXELS:
        return [work() for _, work in pictures]
    decoding = asyncio.ensure_future(parts.decoder.decode(pictures, request.state.deadline))
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((decoding, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not decoding.done():
            raise DisconnectedError
        return decoding.result()
    finally:
        decoding.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    """Return when the client has left; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
