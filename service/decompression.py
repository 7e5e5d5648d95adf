"""Bodies that come compressed, by whatever route: decompressed before the application reads them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from service.inference.compression import decompressed

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Decompression:
    """ASGI middleware: undoes the Content-Encoding of a request's body, within the limit of its route.

    Raises UnsupportedMediaType for an encoding that is not known, MalformedRequest for a damaged body and
    PayloadTooLarge before more than the limit is made.
    """

    def __init__(self, app: ASGIApp, body_limits: tuple[tuple[str, int], ...]) -> None:
        """`body_limits` gives the largest body by path prefix; the first prefix that fits counts."""
        self._app, self._body_limits = app, body_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body as it was before it was compressed."""
        encoding = _encoding_of(scope)
        if not encoding:
            await self._app(scope, receive, send)
            return
        body, ended = await _read(receive)
        limit = next(limit for prefix, limit in self._body_limits if scope["path"].startswith(prefix))
        if body:  # a request without one may name any encoding
            body = await asyncio.to_thread(decompressed, body, encoding, limit)
        given: list[Message] = [{"type": "http.request", "body": body, "more_body": False}] if ended else []

        async def receive_body() -> Message:
            return given.pop() if given else await receive()

        scope["headers"] = [header for header in scope["headers"] if header[0] not in _OF_THE_COMPRESSED]
        await self._app(scope, receive_body, send)


_OF_THE_COMPRESSED = (b"content-encoding", b"content-length")


def _encoding_of(scope: Scope) -> str:
    if scope["type"] != "http":
        return ""
    return ", ".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"content-encoding")


async def _read(receive: Receive) -> tuple[bytes, bool]:
    """Read a body, and tell whether it came to its end before the client left."""
    pieces, more = [], True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return b"", False
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces), True
