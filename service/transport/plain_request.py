"""The request that is worth a shortcut: a POST to /predict in one piece, its headers written as clients write them.

A client says nearly the same in each of its requests, and a head that was taken apart lately is not taken apart again.
Whatever the parser might read in another way, or what concerns the connection, is left to it: spaces in odd places,
signs beyond ASCII, no value at all, and headers that end a connection or tell a body's length by something else.
"""

import re
from functools import lru_cache

from service.transport.request_parser import Headers

_START, _END = b"POST /predict HTTP/1.1\r\n", b"\r\n\r\n"
_LONGEST_HEAD = 1024
_LINES = re.compile(rb"[A-Za-z0-9-]+: [!-~]+(?: [!-~]+)*(?:\r\n[A-Za-z0-9-]+: [!-~]+(?: [!-~]+)*)*")
_FOR_THE_PARSER = frozenset((b"connection", b"proxy-connection", b"upgrade", b"transfer-encoding", b"expect"))


def read_plain_request(data: bytes) -> tuple[Headers, bytes] | None:
    """Take what has come on a connection apart to headers, their names in lower case, and a body.

    None unless it is such a request, from its first byte to the last of its body.
    """
    end = data.find(_END, 0, _LONGEST_HEAD)
    head = _taken_apart(data[:end]) if end > 0 else None
    if head is None:
        return None
    headers, length = head
    body = data[end + len(_END) :]
    return (list(headers), body) if len(body) == length else None


@lru_cache(maxsize=256)
def _taken_apart(head: bytes) -> tuple[tuple[tuple[bytes, bytes], ...], int] | None:
    """Read headers, and the body's length among them."""
    if not head.startswith(_START) or not _LINES.fullmatch(head, len(_START)):
        return None
    lines = (line.partition(b": ") for line in head[len(_START) :].split(b"\r\n"))
    headers = tuple((name.lower(), value) for name, _, value in lines)
    lengths = [value for name, value in headers if name == b"content-length"]
    names = (name for name, value in headers if (name, value) != (b"connection", b"keep-alive"))
    if len(lengths) != 1 or not lengths[0].isdigit() or not _FOR_THE_PARSER.isdisjoint(names):
        return None
    return headers, int(lengths[0])
