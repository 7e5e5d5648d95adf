"""Content-Encoding of requests and responses: gzip, and deflate in the zlib format (RFC 9110, section 8.4.1)."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

from service.errors import MalformedRequest, PayloadTooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_WINDOW_BITS = {"gzip": 31, "deflate": 15}
_SYNONYMS = {"x-gzip": "gzip"}  # RFC 9110, section 8.4.1.3
_LEVEL = 1  # responses are short, so speed matters more than size
_BODY_HEADERS = (b"content-encoding", b"content-length")


class DecompressionMiddleware:
    """ASGI middleware that decompresses request bodies, up to the body limit of the route.

    Raises UnsupportedMediaType for an unknown encoding, MalformedRequest for a damaged body and PayloadTooLarge before
    more than the limit is decompressed.
    """

    def __init__(self, app: ASGIApp, body_limits: tuple[tuple[str, int], ...]) -> None:
        """`body_limits` lists the maximum body size by path prefix; the first matching prefix applies."""
        self._app, self._body_limits = app, body_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Decompress the body, if it has a Content-Encoding, and run the application."""
        encoding = _encoding_of(scope)
        if not encoding:
            await self._app(scope, receive, send)
            return
        body, is_complete = await _read(receive)
        limit = next(limit for prefix, limit in self._body_limits if scope["path"].startswith(prefix))
        if body:  # the encoding of an empty body does not matter
            body = await asyncio.to_thread(decompress, body, encoding, limit)
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}] if is_complete else []

        async def receive_body() -> Message:
            return messages.pop() if messages else await receive()

        scope["headers"] = [header for header in scope["headers"] if header[0] not in _BODY_HEADERS]
        await self._app(scope, receive_body, send)


def _encoding_of(scope: Scope) -> str:
    if scope["type"] != "http":
        return ""
    return ", ".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"content-encoding")


async def _read(receive: Receive) -> tuple[bytes, bool]:
    """Read a body; the flag is false if the client disconnected before the end."""
    chunks, more = [], True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return b"", False
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks), True


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Decompress a body; at most `max_bytes` are produced.

    Raises UnsupportedMediaType, MalformedRequest or PayloadTooLarge.
    """
    encoding = encoding.strip().lower()
    encoding = _SYNONYMS.get(encoding, encoding)
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOW_BITS:
        raise UnsupportedMediaType("unsupported Content-Encoding; use gzip or deflate, or omit the header")
    stream = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        content = stream.decompress(body, max_bytes + 1)
    except zlib.error:
        raise MalformedRequest(f"the body is not {encoding}") from None
    if len(content) > max_bytes:
        raise PayloadTooLarge(f"the body is larger than {max_bytes:,} bytes when decompressed")
    if not stream.eof:
        raise MalformedRequest(f"the {encoding} body is truncated")
    if stream.unused_data:
        raise MalformedRequest(f"the body has data after the end of the {encoding} stream")
    return content


def negotiate_encoding(accept_encoding: str) -> str | None:
    """Return the supported encoding that an Accept-Encoding header prefers, gzip on a tie; None if it accepts none."""
    weights: dict[str, float] = {}
    for item in accept_encoding.lower().split(","):
        name, _, parameter = item.partition(";")
        weights[name.strip()] = _weight(parameter)
    best = max(_WINDOW_BITS, key=lambda name: weights.get(name, 0.0))
    return best if weights.get(best, 0.0) > 0 else None


def _weight(parameter: str) -> float:
    name, _, value = parameter.replace(" ", "").partition("=")
    if name != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def compress(content: bytes, encoding: str) -> bytes:
    """Compress with gzip or deflate."""
    stream = zlib.compressobj(_LEVEL, wbits=_WINDOW_BITS[encoding])
    return stream.compress(content) + stream.flush()
