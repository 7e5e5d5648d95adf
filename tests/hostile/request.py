"""One hostile input: the bytes that are sent, and the answers that are right."""

from dataclasses import dataclass

CLOSED = 0
"""Stands for a connection that is closed without a word."""

REFUSED = frozenset({400, 413, 415, 422})
TAKEN_OR_REFUSED = REFUSED | {200}


@dataclass(frozen=True)
class Hostile:
    """What is sent over a connection of its own."""

    name: str
    sent: bytes
    statuses: frozenset[int]
    """What may be answered, CLOSED among it."""
    waits: bool = False
    """Whether the server must wait for more, until its deadline."""


def http(
    target: str, body: bytes = b"", kind: str | None = "application/json", method: str = "POST", *lines: str
) -> bytes:
    """Write a well-formed request around a body that may be anything."""
    head = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    if body or method in ("POST", "PUT"):
        head.append(f"Content-Length: {len(body)}")
    if kind is not None:
        head.append(f"Content-Type: {kind}")
    return "\r\n".join([*head, *lines, "", ""]).encode("latin-1") + body
