"""httptools's parser of requests, with a largest size of heads, and blind to offers to upgrade.

llhttp takes a request that offers another protocol as the last of its connection, and what follows its head, the body
first of all, as that protocol's. Nothing here speaks another protocol, so the request is answered as if it had not
offered one (RFC 9110, section 7.8): its head is parsed again without the offer, and then what follows it.
"""

from typing import Literal, Protocol

import httptools

from service.errors import HeadersTooLarge, NotImplementedHere

MOST_HEAD_BYTES = 65_536

_MOST_FRAMING = 16
"""Bytes around a chunk, with its extensions, for each of its own: a chunk of one byte has five around it."""

Headers = list[tuple[bytes, bytes]]


class Receiver(Protocol):
    """The connection that requests come from, called while they are parsed."""

    url: bytes
    headers: Headers

    def on_message_begin(self) -> None:
        """A request begins."""

    def on_url(self, url: bytes) -> None:
        """A piece of its target."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""

    def on_headers_complete(self) -> None:
        """Its head is complete."""

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""

    def on_message_complete(self) -> None:
        """It is complete."""


class RequestParser:
    """See the module."""

    def __init__(self, receiver: Receiver) -> None:
        """Call the receiver of what is parsed."""
        self._receiver = receiver
        self.on_url = receiver.on_url
        self._stage: Literal["between", "head", "body"] = "between"
        self._head_bytes = 0  # of the head that is being read: those of reads that held nothing else
        self._body_bytes = self._framing_bytes = 0  # of the body that is being read, and around its chunks
        self._newest_bytes = 0
        self._heads_begun = 0  # in the newest read
        self._parser = self._fresh()

    def feed_data(self, data: bytes) -> None:
        """Parse what has come. Raises HttpParserError, its context what a callback raised, or HeadersTooLarge."""
        before, self._heads_begun, self._newest_bytes = self._stage, 0, len(data)
        body_bytes = self._body_bytes
        rest = memoryview(data)
        while True:
            try:
                self._parser.feed_data(rest)
                break
            except httptools.HttpParserUpgrade as offer:
                head = self._head_without_offer()
                self._parser = self._fresh()
                self._parser.feed_data(head)
                rest = rest[offer.args[0] :]
        if self._stage == "head":
            # Of a head that began behind something else it cannot be told how much has come: the next read is counted.
            if (before, self._heads_begun) in (("between", 1), ("head", 0)):
                self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                raise _too_large()
        elif self._stage == before == "body" and not self._heads_begun:
            self._framing_bytes += len(data) - (self._body_bytes - body_bytes)
            if self._framing_bytes > MOST_HEAD_BYTES + _MOST_FRAMING * self._body_bytes:
                raise _too_large()

    def get_method(self) -> bytes:
        """Give the method of the newest request."""
        method: bytes = self._parser.get_method()
        return method

    def get_http_version(self) -> str:
        """Give its version of HTTP, such as 1.1."""
        version: str = self._parser.get_http_version()
        return version

    def should_keep_alive(self) -> bool:
        """Tell whether its connection stays open behind it."""
        keeps: bool = self._parser.should_keep_alive()
        return keeps

    def on_message_begin(self) -> None:
        """Called by httptools."""
        self._stage, self._head_bytes, self._body_bytes, self._framing_bytes = "head", 0, 0, 0
        self._heads_begun += 1
        self._receiver.on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools. Trailers are dropped, and change nothing that headers said (RFC 9110, section 6.5.1)."""
        if self._stage == "head":
            self._receiver.on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Called by httptools."""
        self._body_bytes += len(body)
        self._receiver.on_body(body)

    def on_headers_complete(self) -> None:
        """Called by httptools."""
        self._stage = "body"
        if self._head_bytes + self._newest_bytes > MOST_HEAD_BYTES:
            headers = sum(len(name) + len(value) for name, value in self._receiver.headers)
            if len(self._receiver.url) + headers > MOST_HEAD_BYTES:
                raise _too_large()
        if not self._parser.should_upgrade():
            self._receiver.on_headers_complete()
        elif self._parser.get_method() == b"CONNECT":
            raise NotImplementedHere("this server is no proxy: CONNECT is not answered here")

    def on_message_complete(self) -> None:
        """Called by httptools."""
        self._stage = "between"
        if not self._parser.should_upgrade():
            self._receiver.on_message_complete()

    def _fresh(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # What follows a request that ends its connection is dropped, and the request is answered.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _head_without_offer(self) -> bytes:
        lines = [b"%b %b HTTP/%b" % (self.get_method(), self._receiver.url, self.get_http_version().encode())]
        for name, value in self._receiver.headers:
            if name == b"connection":
                value = b", ".join(each for each in value.split(b",") if each.strip().lower() != b"upgrade")
            if name != b"upgrade" and (value or name != b"connection"):
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join([*lines, b"", b""])


def _too_large() -> HeadersTooLarge:
    return HeadersTooLarge(f"the headers are longer than {MOST_HEAD_BYTES:,} bytes")
