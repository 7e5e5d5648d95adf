"""The pictures of a request decoded before its deadline, as long as its client is there."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from fastapi import Request

from service.images import QUICK_BYTES
from service.parts import Parts
from service.transport.edge import DisconnectedError

_T = TypeVar("_T")

QUICK_PIXELS = 65_536
"""Images of so many pixels, and of few bytes, are decoded on the event loop: a thread would cost more than it saves."""


async def decoded(request: Request, parts: Parts, pictures: Sequence[tuple[int, Callable[[], _T]]]) -> list[_T]:
    """Decode the pictures of a request, each given by its pixels and a function, which must not raise.

    Raises Unavailable when they will not be done in time, DisconnectedError when the client has left.
    """
    if not pictures or (sum(pixels for pixels, _ in pictures) <= QUICK_PIXELS and await _is_short(request)):
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


async def opened(request: Request, work: Callable[[], _T]) -> _T:
    """Do what reads the headers of a request's images: in a thread unless its body is short."""
    return work() if await _is_short(request) else await asyncio.to_thread(work)


async def _is_short(request: Request) -> bool:
    """Tell whether so little was sent that nothing in it can take long."""
    return len(await request.body()) <= QUICK_BYTES


async def _left(request: Request) -> None:
    """Return when the client has left; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
