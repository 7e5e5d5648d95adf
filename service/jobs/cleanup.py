"""Deletion of old job records and of objects that killed processes left in the store.

A wall clock can be wrong by years: an empty battery, a bad time server, a typo. `Retention` therefore never assumes a
time later than one day after the newest record it saw first, plus the monotonic time since then. If that is too early,
for example after a long period without jobs, records are only kept longer.

`Leftovers` deletes staged objects and version locks that have existed for an hour by the monotonic clock of this
process; no live process holds one that long. A lock to delete a version that has no manifest stays: it marks an
unfinished deletion for the next pruning.
"""

import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from service.jobs.queue import JobQueue
from service.registry.store import STAGING, Store

log = logging.getLogger(__name__)

_AT_ONCE = 50
_MARGIN_SECONDS = 86_400.0

_LEFTOVER_SECONDS = 3600.0
_CLAIM = re.compile(r"(?P<version>models/[^/]+/[^/]+)/(?P<kind>promoting|deleting)/[^/]+")


class Retention:
    """Deletes old records of a queue; the versions that the jobs made stay."""

    def __init__(
        self,
        jobs: JobQueue,
        days: float,
        *,
        wall: Callable[[], float] = time.time,
        counted: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep records for so many days after a job has ended; `wall` and `counted` are clocks, in seconds."""
        self._jobs, self._days, self._wall, self._counted = jobs, days, wall, counted
        self._origin: float | None = None
        self._is_doubted = False

    def delete_expired(self) -> int:
        """Delete some of the records that are due, and give their number; to be called again. Raises Unavailable."""
        newest = self._jobs.newest()
        if newest is None:
            return 0
        if self._origin is None:
            self._origin = newest.timestamp() + _MARGIN_SECONDS - self._counted()
        now, latest = self._wall(), self._origin + self._counted()
        self._doubt(now - latest)
        before = datetime.fromtimestamp(min(now, latest), UTC) - timedelta(days=self._days)
        deleted = self._jobs.delete_ended(before, _AT_ONCE)
        if deleted:
            log.info(
                "%d records of jobs are deleted that ended before %s", deleted, before.isoformat(timespec="seconds")
            )
        return deleted

    def _doubt(self, ahead: float) -> None:
        """Log once that the clock is not believed, and when it is again."""
        if (ahead > _MARGIN_SECONDS) != self._is_doubted:
            self._is_doubted = not self._is_doubted
            if self._is_doubted:
                log.warning(
                    "the clock is %.0f days later than the newest job and the time counted since let expect;"
                    " records of jobs are kept longer, as if it were not. Set the clock if it is wrong",
                    ahead / 86_400,
                )


class Leftovers:
    """The leftovers that one worker has seen."""

    def __init__(self, store: Store, counted: Callable[[], float] = time.monotonic) -> None:
        """Look into a store; `counted` is a clock, in seconds."""
        self._store, self._counted = store, counted
        self._since: dict[str, float] = {}

    def delete_expired(self) -> int:
        """Delete what was seen for long enough, and give the number; to be called again. Raises Unavailable."""
        now, models = self._counted(), set(self._store.list("models"))
        found = [*self._store.list(STAGING), *(key for key in models if _is_left(key, models))]
        self._since = {key: self._since.get(key, now) for key in found}
        old = [key for key, since in self._since.items() if now - since > _LEFTOVER_SECONDS]
        for key in old:
            self._store.delete(key)
        if old:
            log.info("%d objects of the store are deleted that killed processes had left", len(old))
        return len(old)


def _is_left(key: str, models: set[str]) -> bool:
    claim = _CLAIM.fullmatch(key)
    return claim is not None and (claim["kind"] == "promoting" or f"{claim['version']}/manifest.json" in models)
