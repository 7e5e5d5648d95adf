"""Process-wide tuning: file descriptors, malloc and the garbage collector."""

import contextlib
import ctypes
import gc
import resource
import sys
from collections.abc import Iterator
from functools import cache

_MAX_DESCRIPTORS = 65_536
_M_MMAP_THRESHOLD = -3
_LARGE_BLOCK_BYTES = 1024**2


def raise_descriptor_limit() -> None:
    """Raise the soft limit of file descriptors to the hard limit. The default of 1,024 exists for select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS has a lower limit that getrlimit does not report
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@cache
def max_connections() -> int:
    """Return half the descriptor limit: each connection may also open a file."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (_MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft) // 2


def limit_malloc_growth() -> None:
    """Have glibc return large blocks to the system when they are freed; does nothing without glibc.

    By default, glibc raises its mmap threshold to up to 32 MiB once a large block is freed, and takes such blocks from
    per-thread heaps that do not shrink: a process stays 50 MiB larger after a few large images.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)


@contextlib.contextmanager
def frozen_imports() -> Iterator[None]:
    """Disable garbage collection in the block and exclude the objects created there from later collections.

    Collections during imports cost one sixth of the start-up time, and later ones delay predictions.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
