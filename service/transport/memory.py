"""Memory that is given back, and memory that never will be.

By itself glibc learns from the first large block that is freed, and takes blocks of up to 32 MiB from heaps from then
on, one for each thread, that grow and do not shrink: after a few large pictures a process would stay 50 MiB larger.
"""

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1024**2


def give_back_large_blocks() -> None:
    """Give large blocks pages of their own, for this process and for good; does nothing where there is no glibc."""
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


@contextlib.contextmanager
def imports() -> Iterator[None]:
    """Import in the block what lives as long as the process.

    To look for garbage meanwhile, and ever again among it, takes a sixth of the time and makes predictions wait.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
