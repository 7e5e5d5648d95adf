"""HTTP request parsing: httptools with limits on the request head, and a fast parser for simple `POST /predict`.

llhttp treats a request that offers an upgrade as the last one of its connection and everything after its head,
including the body, as another protocol. This server supports no other protocol, so it ignores the offer (RFC 9110,
section 7.8): it parses the head again without the offer, and then the rest.
"""

import re
from functools import lru_cache
from typing import Literal, Protocol

import httptools

from service.errors import HeadersTooLarge, NotImplementedHere

MAX_HEAD_BYTES = 65_536

_MAX_FRAMING_RATIO = 16
"""Framing bytes around chunks per byte of content, beyond the head limit. A chunk of one byte needs five."""

_PREDICT_START, _HEAD_END = b"POST /predict HTTP/1.1\r\n", b"\r\n\r\n"
_MAX_FAST_HEAD_BYTES = 1024
_HEADER_LINES = re.compile(rb"[A-Za-z0-9-]+: [!-~]+(?: [!-~]+)*(?:\r\n[A-Za-z0-9-]+: [!-~]+(?: [!-~]+)*)*")
_CONNECTION_HEADERS = frozenset((b"connection", b"proxy-connection", b"upgrade", b"transfer-encoding", b"expect"))

Headers = list[tuple[bytes, bytes]]


class Receiver(Protocol):
    """The connection of the requests; its methods are httptools' callbacks."""

    url: bytes
    headers: Headers

    def on_message_begin(self) -> None:
        """A request starts."""

    def on_url(self, url: bytes) -> None:
        """Part of the request target."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""

    def on_headers_complete(self) -> None:
        """The head is complete."""

    def on_body(self, body: bytes) -> None:
        """Part of the body."""

    def on_message_complete(self) -> None:
        """The request is complete."""


class RequestParser:
    """Wraps httptools' parser with size limits, and ignores upgrades and trailers."""

    def __init__(self, receiver: Receiver) -> None:
        """Parse requests for `receiver`."""
        self._receiver = receiver
        self.on_url = receiver.on_url
        self._stage: Literal["between", "head", "body"] = "between"
        self._head_bytes = 0  # of the current head, without reads that contained anything else
        self._body_bytes = self._framing_bytes = 0  # of the current body, and around its chunks
        self._last_read_bytes = 0
        self._heads_started = 0  # in the last read
        self._parser = self._new_parser()

    def feed_data(self, data: bytes) -> None:
        """Parse data. Raises HttpParserError, whose context is what a callback raised, or HeadersTooLarge."""
        stage_before, self._heads_started, self._last_read_bytes = self._stage, 0, len(data)
        body_bytes_before = self._body_bytes
        rest = memoryview(data)
        while True:
            try:
                self._parser.feed_data(rest)
                break
            except httptools.HttpParserUpgrade as upgrade:
                head = self._head_without_upgrade()
                self._parser = self._new_parser()
                self._parser.feed_data(head)
                rest = rest[upgrade.args[0] :]
        if self._stage == "head":
            # If a head starts after other data, its size so far is unknown; only the next reads are counted.
            if (stage_before, self._heads_started) in (("between", 1), ("head", 0)):
                self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                raise _too_large()
        elif self._stage == stage_before == "body" and not self._heads_started:
            self._framing_bytes += len(data) - (self._body_bytes - body_bytes_before)
            if self._framing_bytes > MAX_HEAD_BYTES + _MAX_FRAMING_RATIO * self._body_bytes:
                raise _too_large()

    def get_method(self) -> bytes:
        """Return the method of the last request."""
        method: bytes = self._parser.get_method()
        return method

    def get_http_version(self) -> str:
        """Return the HTTP version of the last request, such as 1.1."""
        version: str = self._parser.get_http_version()
        return version

    def should_keep_alive(self) -> bool:
        """Return whether the connection stays open after the last request."""
        keep_alive: bool = self._parser.should_keep_alive()
        return keep_alive

    def on_message_begin(self) -> None:
        """Callback of httptools."""
        self._stage, self._head_bytes, self._body_bytes, self._framing_bytes = "head", 0, 0, 0
        self._heads_started += 1
        self._receiver.on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Callback of httptools. Trailers are dropped (RFC 9110, section 6.5.1)."""
        if self._stage == "head":
            self._receiver.on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Callback of httptools."""
        self._body_bytes += len(body)
        self._receiver.on_body(body)

    def on_headers_complete(self) -> None:
        """Callback of httptools."""
        self._stage = "body"
        if self._head_bytes + self._last_read_bytes > MAX_HEAD_BYTES:
            headers = sum(len(name) + len(value) for name, value in self._receiver.headers)
            if len(self._receiver.url) + headers > MAX_HEAD_BYTES:
                raise _too_large()
        if not self._parser.should_upgrade():
            self._receiver.on_headers_complete()
        elif self._parser.get_method() == b"CONNECT":
            raise NotImplementedHere("CONNECT is not supported: this server is not a proxy")

    def on_message_complete(self) -> None:
        """Callback of httptools."""
        self._stage = "between"
        if not self._parser.should_upgrade():
            self._receiver.on_message_complete()

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # Data after the last request of a connection are dropped; the request is still answered.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _head_without_upgrade(self) -> bytes:
        lines = [b"%b %b HTTP/%b" % (self.get_method(), self._receiver.url, self.get_http_version().encode())]
        for name, value in self._receiver.headers:
            if name == b"connection":
                value = b", ".join(each for each in value.split(b",") if each.strip().lower() != b"upgrade")
            if name != b"upgrade" and (value or name != b"connection"):
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join([*lines, b"", b""])


def _too_large() -> HeadersTooLarge:
    return HeadersTooLarge(f"the request head is larger than {MAX_HEAD_BYTES:,} bytes")


def parse_fast_request(data: bytes) -> tuple[Headers, bytes] | None:
    """Parse one complete, simple `POST /predict` to headers, their names in lower case, and the body; else None.

    Anything that httptools might read differently, or that affects the connection, is not simple: unusual whitespace,
    non-ASCII characters, empty values, and headers about the connection or another body length. Heads are cached, since
    clients send nearly the same head with every request.
    """
    end = data.find(_HEAD_END, 0, _MAX_FAST_HEAD_BYTES)
    head = _parse_head(data[:end]) if end > 0 else None
    if head is None:
        return None
    headers, length = head
    body = data[end + len(_HEAD_END) :]
    return (list(headers), body) if len(body) == length else None


@lru_cache(maxsize=256)
def _parse_head(head: bytes) -> tuple[tuple[tuple[bytes, bytes], ...], int] | None:
    """Parse a head to its headers and the length of the body."""
    if not head.startswith(_PREDICT_START) or not _HEADER_LINES.fullmatch(head, len(_PREDICT_START)):
        return None
    lines = (line.partition(b": ") for line in head[len(_PREDICT_START) :].split(b"\r\n"))
    headers = tuple((name.lower(), value) for name, _, value in lines)
    lengths = [value for name, value in headers if name == b"content-length"]
    names = (name for name, value in headers if (name, value) != (b"connection", b"keep-alive"))
    if len(lengths) != 1 or not lengths[0].isdigit() or not _CONNECTION_HEADERS.isdisjoint(names):
        return None
    return headers, int(lengths[0])
