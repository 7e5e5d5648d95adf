"""Connections that ask one request after the other over raw sockets, and say exactly what became of each."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import NamedTuple, cast

from benchmarks.hot_swaps import pictures

Headers = dict[bytes, bytes]


class LostError(Exception):
    """The connection ended after a request was sent and before its answer was complete."""


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: Headers
    body: bytes


class Connection(asyncio.Protocol):
    """One kept-alive connection."""

    def __init__(self) -> None:
        """Begin with nothing received."""
        self._received = b""
        self._answer: asyncio.Future[Answer] | None = None
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to write."""
        self.transport, self.open = cast(asyncio.Transport, transport), True

    def data_received(self, data: bytes) -> None:
        """Collect an answer."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or self._answer is None:
            return
        status, *lines = head.split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        if len(body) >= int(headers.get(b"content-length", b"0")):
            answer, self._answer, self._received = self._answer, None, b""
            if not answer.done():  # whoever waited may have been cancelled
                answer.set_result(Answer(int(status.split()[1]), headers, body))
            if headers.get(b"connection") == b"close":
                self.close()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 -- any reason is the same
        """Tell whoever waits."""
        self.open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LostError())

    async def ask(self, request: bytes) -> Answer:
        """Send a request and wait for its answer. Raises LostError."""
        if not self.open:
            raise LostError
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._answer

    def close(self) -> None:
        """End it."""
        self.open = False
        with contextlib.suppress(AttributeError):
            self.transport.close()


async def connect(port: int) -> Connection:
    """Open a connection. Raises OSError."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
    return connection


def get(path: str) -> bytes:
    """Write a GET."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def post(path: str, body: bytes, kind: str = "image/png") -> bytes:
    """Write a POST."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def good_requests() -> Sequence[bytes]:
    """Write predictions, half of them such that the fast path answers, half the application's."""
    return [post(path, picture) for picture in pictures() for path in ("/predict", "/predict?top_k=10")]
