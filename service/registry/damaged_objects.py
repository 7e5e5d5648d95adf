"""Damaged objects of a store: each is logged once and reported by readiness and a metric.

Callers skip a damaged object and continue with the others.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

_MAX_OBJECTS = 1000


class DamagedObjects:
    """The keys of damaged objects and the reasons. Thread-safe."""

    def __init__(self) -> None:
        """Start empty."""
        self._reasons: dict[str, str] = {}
        self._lock = threading.Lock()

    @contextmanager
    def track(self, key: str, *errors: type[Exception]) -> Iterator[None]:
        """Add `key` if the block raises one of `errors`, which is raised on; discard it otherwise."""
        try:
            yield
        except errors as error:
            self.add(key, str(error))
            raise
        else:
            self.discard(key)

    def add(self, key: str, reason: str) -> None:
        """Add a damaged object."""
        with self._lock:
            is_new = key not in self._reasons and len(self._reasons) < _MAX_OBJECTS
            if is_new:
                self._reasons[key] = reason
        if is_new:
            log.error("%s is damaged and skipped: %s", key, reason)

    def discard(self, key: str) -> None:
        """Remove an object that is intact or deleted."""
        if key in self._reasons:
            with self._lock:
                self._reasons.pop(key, None)

    def keys(self) -> list[str]:
        """Return the keys of damaged objects, sorted."""
        with self._lock:
            return sorted(self._reasons)
