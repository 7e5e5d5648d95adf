"""What killed processes leave in the store: staged objects, and claims on versions.

They are deleted once they were seen for an hour, by the own clock of who looks: that is longer than anybody who lives
holds one. A claim to delete a version without a manifest stays: it tells the next collection what is unfinished.
"""

import logging
import re
import time
from collections.abc import Callable

from service.registry.store import STAGING, Store

log = logging.getLogger(__name__)

_SECONDS = 3600.0
_CLAIM = re.compile(r"(?P<version>models/[^/]+/[^/]+)/(?P<kind>promoting|deleting)/[^/]+")


class Leftovers:
    """The leftovers that one worker has seen."""

    def __init__(self, store: Store, counted: Callable[[], float] = time.monotonic) -> None:
        """Look into a store; `counted` is a clock, in seconds."""
        self._store, self._counted = store, counted
        self._since: dict[str, float] = {}

    def clear(self) -> int:
        """Delete what was seen for long enough, and give the number; to be called again. Raises Unavailable."""
        now, models = self._counted(), set(self._store.list("models"))
        found = [*self._store.list(STAGING), *(key for key in models if _is_left(key, models))]
        self._since = {key: self._since.get(key, now) for key in found}
        old = [key for key, since in self._since.items() if now - since > _SECONDS]
        for key in old:
            self._store.delete(key)
        if old:
            log.info("%d objects of the store are deleted that killed processes had left", len(old))
        return len(old)


def _is_left(key: str, models: set[str]) -> bool:
    claim = _CLAIM.fullmatch(key)
    return claim is not None and (claim["kind"] == "promoting" or f"{claim['version']}/manifest.json" in models)
