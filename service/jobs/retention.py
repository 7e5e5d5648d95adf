"""Records of jobs that ended long ago are deleted: a few at a time, and never because a clock alone says so.

A clock may be wrong by years for once: an empty battery, a bad time server, a typing error. So this process believes in
no later time than a day after the newest record as it was found first, plus the time that it has counted since then.
Where that is too little, after a long pause without jobs, records are only kept longer.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from service.jobs.queue import Jobs

log = logging.getLogger(__name__)

_AT_ONCE = 50
_MARGIN_SECONDS = 86_400.0


class Retention:
    """Deletes old records of a queue; the versions that the jobs made stay."""

    def __init__(
        self,
        jobs: Jobs,
        days: float,
        *,
        wall: Callable[[], float] = time.time,
        counted: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep records for so many days after a job has ended; `wall` and `counted` are clocks, in seconds."""
        self._jobs, self._days, self._wall, self._counted = jobs, days, wall, counted
        self._origin: float | None = None
        self._is_doubted = False

    def forget_old(self) -> int:
        """Delete some of the records that are due, and give their number; to be called again. Raises Unavailable."""
        newest = self._jobs.newest()
        if newest is None:
            return 0
        if self._origin is None:
            self._origin = newest.timestamp() + _MARGIN_SECONDS - self._counted()
        now, latest = self._wall(), self._origin + self._counted()
        self._doubt(now - latest)
        before = datetime.fromtimestamp(min(now, latest), UTC) - timedelta(days=self._days)
        deleted = self._jobs.forget_ended(before, _AT_ONCE)
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
