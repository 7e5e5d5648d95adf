"""Locks on a version: promotion holds one kind, deletion the other, and each checks for the other kind.

    models/<name>/<version>/promoting/<unix time>-<id>
    models/<name>/<version>/deleting/<unix time>-<id>

Each operation writes its own lock before it checks for the other kind, so at least one of two conflicting operations
aborts. A lock expires after an hour, so a process that crashes does not block a version for long.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from service.registry.store import Store

_EXPIRY_SECONDS = 3600.0
"""Longer than any promotion takes, even if the clocks of hosts differ."""

Operation = Literal["promoting", "deleting"]


@contextmanager
def hold_lock(store: Store, version_prefix: str, operation: Operation) -> Iterator[None]:
    """Hold a lock on a version."""
    key = f"{version_prefix}/{operation}/{int(time.time())}-{secrets.token_hex(8)}"
    store.put(key, b"")
    try:
        yield
    finally:
        store.delete(key)


def is_locked(store: Store, version_prefix: str, operation: Operation) -> bool:
    """Return whether an unexpired lock of this kind exists."""
    oldest = time.time() - _EXPIRY_SECONDS
    return any(_created(key) >= oldest for key in store.list(f"{version_prefix}/{operation}"))


def _created(key: str) -> int:
    """Return the Unix time in a lock's key; 0 if there is none."""
    seconds = key.rpartition("/")[2].partition("-")[0]
    return int(seconds) if seconds.isascii() and seconds.isdigit() and len(seconds) < 20 else 0
