"""The log context of a request or job, and W3C trace contexts.

The context is a contextvar. It follows the work into threads, so that all log lines of a request share its id.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType

_EMPTY: MappingProxyType[str, str] = MappingProxyType({})
_LOG_CONTEXT: ContextVar[MappingProxyType[str, str]] = ContextVar("log_context", default=_EMPTY)
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
        """Format as a `traceparent` header."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def parse_traceparent(traceparent: bytes) -> Trace | None:
    """Parse a caller's `traceparent` header into a new child span; None if the header is invalid.

    https://www.w3.org/TR/trace-context/#traceparent-header: later versions may append fields, version 00 may not.
    """
    match = _TRACEPARENT.fullmatch(traceparent.decode("latin-1"))
    if match is None:
        return None
    version, trace_id, parent_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(parent_id, 16):
        return None
    sampled = "01" if int(flags, 16) & 1 else "00"
    return Trace(trace_id, secrets.token_hex(8), sampled, parent_id)


def log_context() -> MappingProxyType[str, str]:
    """Return the current context by name: request_id, trace_id, span_id, job."""
    return _LOG_CONTEXT.get()


@contextmanager
def bound_log_context(**names: str) -> Iterator[None]:
    """Add names to the context while the block runs."""
    token = _LOG_CONTEXT.set(MappingProxyType({**_LOG_CONTEXT.get(), **names}))
    try:
        yield
    finally:
        _LOG_CONTEXT.reset(token)
