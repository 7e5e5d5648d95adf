"""Deletion of old job records and of objects that killed processes left in the store.

A wall clock can be wrong by years: an empty battery, a bad time server, a typo. `JobRetention` therefore never assumes
a time later than one day after the newest record it saw first, plus the monotonic time since then. If that is too
early, for example after a long period without jobs, records are only kept longer.

`OrphanedObjects` deletes staged objects and version locks that have existed for an hour by the monotonic clock of this
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

_MAX_DELETIONS = 50
_CLOCK_TOLERANCE_SECONDS = 86_400.0
_ORPHAN_SECONDS = 3600.0
_LOCK = re.compile(r"(?P<version>models/[^/]+/[^/]+)/(?P<kind>promoting|deleting)/[^/]+")


class JobRetention:
    """Deletes old job records; the versions that the jobs published stay."""

    def __init__(
        self,
        jobs: JobQueue,
        days: float,
        *,
        wall_clock: Callable[[], float] = time.time,
        monotonic_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep records for a number of days after a job has ended."""
        self._jobs, self._days, self._wall_clock, self._monotonic_clock = jobs, days, wall_clock, monotonic_clock
        self._origin: float | None = None
        self._is_clock_ahead = False

    def delete_expired(self) -> int:
        """Delete some expired records and return how many; call it repeatedly. Raises Unavailable."""
        newest = self._jobs.newest()
        if newest is None:
            return 0
        if self._origin is None:
            self._origin = newest.timestamp() + _CLOCK_TOLERANCE_SECONDS - self._monotonic_clock()
        now, latest = self._wall_clock(), self._origin + self._monotonic_clock()
        self._check_clock(now - latest)
        before = datetime.fromtimestamp(min(now, latest), UTC) - timedelta(days=self._days)
        deleted = self._jobs.delete_ended(before, _MAX_DELETIONS)
        if deleted:
            log.info("deleted %d records of jobs that ended before %s", deleted, before.isoformat(timespec="seconds"))
        return deleted

    def _check_clock(self, seconds_ahead: float) -> None:
        """Log once if the wall clock is ahead of what is possible."""
        if (seconds_ahead > _CLOCK_TOLERANCE_SECONDS) != self._is_clock_ahead:
            self._is_clock_ahead = not self._is_clock_ahead
            if self._is_clock_ahead:
                log.warning(
                    "the clock is %.0f days later than the newest job and the time since then suggest;"
                    " job records are kept longer. Set the clock if it is wrong",
                    seconds_ahead / 86_400,
                )


class OrphanedObjects:
    """Deletes the objects that killed processes left in a store."""

    def __init__(self, store: Store, monotonic_clock: Callable[[], float] = time.monotonic) -> None:
        """Use a store."""
        self._store, self._monotonic_clock = store, monotonic_clock
        self._first_seen: dict[str, float] = {}

    def delete_expired(self) -> int:
        """Delete what was first seen long enough ago and return how many; call it repeatedly. Raises Unavailable."""
        now, models = self._monotonic_clock(), set(self._store.list("models"))
        orphans = [*self._store.list(STAGING), *(key for key in models if _is_orphan(key, models))]
        self._first_seen = {key: self._first_seen.get(key, now) for key in orphans}
        expired = [key for key, seen in self._first_seen.items() if now - seen > _ORPHAN_SECONDS]
        for key in expired:
            self._store.delete(key)
        if expired:
            log.info("deleted %d objects that killed processes left in the store", len(expired))
        return len(expired)


def _is_orphan(key: str, models: set[str]) -> bool:
    lock = _LOCK.fullmatch(key)
    return lock is not None and (lock["kind"] == "promoting" or f"{lock['version']}/manifest.json" in models)
