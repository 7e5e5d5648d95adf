"""What a worker does beside training: signs of life, taking over from workers that are gone, tidying up."""

import logging
import os
import time
from collections.abc import Callable, Set
from contextlib import suppress
from pathlib import Path

from service.errors import NotFound, ServiceError, Unavailable
from service.jobs.checkpoints import Checkpoints
from service.jobs.cleanup import JobRetention, OrphanedObjects
from service.jobs.dbos_mapping import RunningJob
from service.jobs.queue import JobQueue
from service.settings import Settings

log = logging.getLogger(__name__)

_TIDY_SECONDS = 600.0
_IDLE_SECONDS = 3.0
_QUEUED_PAUSE, _RUNNING_PAUSE, _IDLE_PAUSE = 0.25, 1.0, 5.0
"""Seconds until the next look: while a job waits, while one is at work, and else. What is queued on this host wakes."""


def renice_all_threads(niceness: int) -> None:
    """Let all threads of this process be so nice, and those that they start: predictions come first, then jobs."""
    threads, left = Path("/proc/self/task"), True
    while left:  # again, since a thread that was not nice yet may have started another
        numbers = [int(thread.name) for thread in threads.iterdir()] if threads.is_dir() else [0]
        left = sum(_is_made_nice(number, niceness) for number in numbers) > 0


def _is_made_nice(thread: int, niceness: int) -> bool:
    with suppress(ProcessLookupError):  # it has ended meanwhile
        if os.getpriority(os.PRIO_PROCESS, thread) < niceness:
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
            return True
    return False


class Upkeep:
    """Looks after the queue from one worker; every worker does, and what two do at once is done once."""

    def __init__(
        self,
        jobs: JobQueue,
        checkpoints: Checkpoints,
        executor_id: str,
        settings: Settings,
        at_work: Set[str],
        failed: set[str],
        take_jobs: Callable[[], object],
    ) -> None:
        """Of this worker's jobs those `at_work` are really being done; those that `failed` get a strike for it.

        `take_jobs` begins one that waits.
        """
        self._take_jobs = take_jobs
        self._retention, self._leftovers = (
            JobRetention(jobs, settings.job_retention_days),
            OrphanedObjects(checkpoints.store),
        )
        self._jobs, self._checkpoints, self._is_at_work = jobs, checkpoints, is_at_work
        self._executor_id, self._settings = executor_id, settings
        self._last_change: dict[RunningJob, float] = {}
        self._idle_since: dict[str, float] = {}
        self._next_life = self._next_tidying = time.monotonic()

    def tick(self) -> float:
        """Do what is due, and give the seconds until the next time; a database that does not answer is asked again."""
        try:
            running, is_any_queued = self._jobs.unfinished()
            if is_any_queued:
                self._take_jobs()
            own = [job for job in running if job.executor_id == self._executor_id]
            self._pick_up(own)
            if time.monotonic() >= self._next_life:
                self._next_life = time.monotonic() + self._settings.sign_of_life_seconds
                for job in own:
                    self._jobs.heartbeat(job.job_id)
            self._take_over([job for job in running if job.executor_id != self._executor_id])
            if time.monotonic() >= self._next_tidying:
                self._next_tidying = time.monotonic() + _TIDY_SECONDS
                self._tidy()
        except Unavailable:
            log.debug("upkeep waits for the jobs database")
            return _RUNNING_PAUSE
        return _QUEUED_PAUSE if is_any_queued else _RUNNING_PAUSE if running else _IDLE_PAUSE

    def _pick_up(self, own: list[RunningJob]) -> None:
        """Queue again a job that this worker has taken and is not at: its database failed it in between."""
        now = time.monotonic()
        idle = {job.job_id: job for job in own if job.job_id not in self._at_work}
        self._idle_since = {job_id: self._idle_since.get(job_id, now) for job_id in idle}
        for job_id, since in self._idle_since.items():
            if now - since > _IDLE_SECONDS:
                log.warning("job %s was left lying; it is queued again", job_id)
                if job_id in self._failed:
                    self._failed.discard(job_id)
                    self._jobs.requeue(idle[job_id])
                else:
                    self._jobs.return_to_queue(idle[job_id])

    def _take_over(self, others: list[RunningJob]) -> None:
        """Queue again what has not changed for long by our own clock: clocks of hosts and database may differ.

        With SQLite and Python 3.11 the database's has steps of a second: hence the least that can be set.
        """
        now = time.monotonic()
        self._last_change = {job: self._last_change.get(job, now) for job in others}
        for job, since in self._last_change.items():
            if now - since > self._settings.takeover_seconds:
                log.warning("worker %s is gone; job %s is queued again", job.executor_id, job.job_id)
                self._jobs.requeue(job)

    def _tidy(self) -> None:
        """Forget jobs that ended long ago, checkpoints of jobs that have ended, and what killed processes have left."""
        self._retention.delete_expired()
        try:
            for job_id in self._checkpoints.job_ids():
                if self._has_ended(job_id):
                    self._checkpoints.delete(job_id)
            self._leftovers.delete_expired()
        except ServiceError as error:
            log.warning("what is old in the store stays for now: %s", error.detail)

    def _has_ended(self, job_id: str) -> bool:
        try:
            return self._jobs.get(job_id).is_final
        except NotFound:
            return True
