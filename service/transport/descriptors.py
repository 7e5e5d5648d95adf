"""File descriptors: as many as the process may have, and fewer connections than those."""

import contextlib
import resource
from functools import cache

_ENOUGH = 65_536


def raise_limit() -> None:
    """Use what the hard limit allows: the soft limit is often 1,024, for programs that call select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS has a lower limit that it does not name
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@cache
def most_connections() -> int:
    """Allow a connection for every second descriptor: each may open a file besides."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (_ENOUGH if soft == resource.RLIM_INFINITY else soft) // 2
