"""What a piece of work belongs to: its request or job, and the trace that a caller began (W3C Trace Context).

It goes along with the work, also into threads, so that whatever is logged on the way can be found by it.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType

_NOTHING: MappingProxyType[str, str] = MappingProxyType({})
_BELONGING: ContextVar[MappingProxyType[str, str]] = ContextVar("belonging", default=_NOTHING)
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True)
class Trace:
    """A span within a trace."""

    trace_id: str
    span_id: str
    flags: str
    parent_id: str | None = None
    """The caller's span."""

    def __str__(self) -> str:
        """Write it as a `traceparent` header."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def trace_of(traceparent: bytes) -> Trace | None:
    """Take over a caller's trace, with a span of our own; None when the header is none that the standard allows.

    https://www.w3.org/TR/trace-context/#traceparent-header: a later version may go on after the flags, ours may not.
    """
    parts = _TRACEPARENT.fullmatch(traceparent.decode("latin-1"))
    if parts is None:
        return None
    version, trace_id, parent_id, flags, rest = parts.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(parent_id, 16):
        return None
    sampled = "01" if int(flags, 16) & 1 else "00"
    return Trace(trace_id, secrets.token_hex(8), sampled, parent_id)


def belonging() -> MappingProxyType[str, str]:
    """Tell what the work at hand belongs to, by name: request_id, trace_id, span_id, job."""
    return _BELONGING.get()


@contextmanager
def work(**names: str) -> Iterator[None]:
    """Let what is done in the block belong to something."""
    token = _BELONGING.set(MappingProxyType({**_BELONGING.get(), **names}))
    try:
        yield
    finally:
        _BELONGING.reset(token)
