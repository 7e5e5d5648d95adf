"""Which objects of a store were found damaged: each is logged once, and named by readiness and a metric.

Code that meets a damaged object leaves it out and goes on with the others.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

_MOST = 1000


class DamagedObjects:
    """The keys of damaged objects, with the reasons. Any thread may use it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._reasons: dict[str, str] = {}
        self._lock = threading.Lock()

    @contextmanager
    def noting(self, key: str, *kinds: type[Exception]) -> Iterator[None]:
        """Read the object `key` in the block: note it as damaged when one of `kinds` is raised, as whole otherwise."""
        try:
            yield
        except kinds as error:
            self.note(key, str(error))
            raise
        else:
            self.clear(key)

    def note(self, key: str, reason: str) -> None:
        """Note a damaged object."""
        with self._lock:
            is_new = key not in self._reasons and len(self._reasons) < _MOST
            if is_new:
                self._reasons[key] = reason
        if is_new:
            log.error("%s is damaged and left out: %s", key, reason)

    def clear(self, key: str) -> None:
        """Note that an object is whole, or gone."""
        if key in self._reasons:
            with self._lock:
                self._reasons.pop(key, None)

    def keys(self) -> list[str]:
        """List the keys of damaged objects, in order."""
        with self._lock:
            return sorted(self._reasons)
