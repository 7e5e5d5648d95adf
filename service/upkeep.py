"""What a worker does beside training: signs of life, taking over from workers that are gone, forgetting old jobs."""

import logging
import time
from collections.abc import Callable

from service.errors import Unavailable
from service.jobs import Jobs, Running
from service.settings import Settings

log = logging.getLogger(__name__)

_FORGET_SECONDS = 3600.0


class Upkeep:
    """Looks after the queue from one worker; every worker does, and what two do at once is done once."""

    def __init__(
        self, jobs: Jobs, executor_id: str, settings: Settings, recover: Callable[[list[str]], object]
    ) -> None:
        """`recover` queues again what executors that are gone had taken."""
        self._jobs, self._executor_id, self._settings, self._recover = jobs, executor_id, settings, recover
        self._last_change: dict[Running, float] = {}
        self._next_forgetting = time.monotonic()

    def tick(self) -> None:
        """Do what is due; a database that does not answer is asked again the next time."""
        try:
            running = self._jobs.running()
            self._live([job for job in running if job.executor_id == self._executor_id])
            self._take_over([job for job in running if job.executor_id != self._executor_id])
            if time.monotonic() >= self._next_forgetting:
                self._next_forgetting = time.monotonic() + _FORGET_SECONDS
                self._jobs.forget_old(self._settings.job_retention_days)
        except Unavailable:
            log.debug("upkeep waits for the jobs database")

    def _live(self, own: list[Running]) -> None:
        for job in own:
            self._jobs.touch(job.job_id)

    def _take_over(self, others: list[Running]) -> None:
        """Recover what has not changed for long by our own clock: clocks of hosts and database may differ.

        With SQLite and Python 3.11 the database's has steps of a second: hence the least that can be set.
        """
        now = time.monotonic()
        self._last_change = {job: self._last_change.get(job, now) for job in others}
        for job, since in self._last_change.items():
            if now - since > self._settings.takeover_seconds:
                log.warning("worker %s is gone; job %s is queued again", job.executor_id, job.job_id)
                self._recover([job.executor_id])
