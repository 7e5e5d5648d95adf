"""Claims on a version: who promotes it holds one, who deletes it holds another, and each looks for the other's.

    models/<name>/<version>/promoting/<unix time>-<id>
    models/<name>/<version>/deleting/<unix time>-<id>

Whoever writes a claim before looking for the other kind cannot miss another who does the same: of the two at least one
gives way. No lock is held, so a process that dies in between stops nobody for long: its claim counts for an hour.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from service.registry.store import Store

_SECONDS = 3600.0
"""How long a claim counts: longer than any promotion takes, also by clocks that differ."""

Claim = Literal["promoting", "deleting"]


@contextmanager
def hold_lock(store: Store, folder: str, kind: Claim) -> Iterator[None]:
    """Hold a claim on the version in `folder`."""
    key = f"{folder}/{kind}/{int(time.time())}-{secrets.token_hex(8)}"
    store.put(key, b"")
    try:
        yield
    finally:
        store.delete(key)


def is_locked(store: Store, folder: str, kind: Claim) -> bool:
    """Tell whether anybody holds a claim of a kind."""
    oldest = time.time() - _SECONDS
    return any(_time_of(key) >= oldest for key in store.list(f"{folder}/{kind}"))


def _time_of(key: str) -> int:
    stamp = key.rpartition("/")[2].partition("-")[0]
    return int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) < 20 else 0
