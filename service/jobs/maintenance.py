"""Maintenance of the queue by a worker: heartbeats, takeover of jobs of dead workers, cleanup."""

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

_CLEANUP_INTERVAL_SECONDS = 600.0
_ORPHANED_SECONDS = 3.0
_QUEUED_INTERVAL, _RUNNING_INTERVAL, _IDLE_INTERVAL = 0.25, 1.0, 5.0
"""Seconds until the next check while a job is queued, while one is running, and otherwise. A job that is queued on this
host wakes the worker."""


def renice_all_threads(niceness: int) -> None:
    """Set the niceness of every thread of this process, so that training yields to serving."""
    threads, changed = Path("/proc/self/task"), True
    while changed:  # again, since a thread may have started another one before it was changed
        ids = [int(thread.name) for thread in threads.iterdir()] if threads.is_dir() else [0]
        changed = sum(_renice(thread_id, niceness) for thread_id in ids) > 0


def _renice(thread_id: int, niceness: int) -> bool:
    with suppress(ProcessLookupError):  # it has ended meanwhile
        if os.getpriority(os.PRIO_PROCESS, thread_id) < niceness:
            os.setpriority(os.PRIO_PROCESS, thread_id, niceness)
            return True
    return False


class QueueMaintenance:
    """Maintains the queue. Every worker does; it is safe if several do the same at once."""

    def __init__(
        self,
        jobs: JobQueue,
        checkpoints: Checkpoints,
        executor_id: str,
        settings: Settings,
        active_jobs: Set[str],
        failed_jobs: set[str],
        dequeue: Callable[[], object],
    ) -> None:
        """Maintain the queue for one worker.

        `active_jobs` are those that the worker is running; requeuing one of `failed_jobs` counts as a crash. `dequeue`
        starts a queued job.
        """
        self._dequeue = dequeue
        self._retention = JobRetention(jobs, settings.job_retention_days)
        self._orphaned_objects = OrphanedObjects(checkpoints.store)
        self._jobs, self._checkpoints, self._active_jobs, self._failed_jobs = (
            jobs,
            checkpoints,
            active_jobs,
            failed_jobs,
        )
        self._executor_id, self._settings = executor_id, settings
        self._last_change: dict[RunningJob, float] = {}
        self._inactive_since: dict[str, float] = {}
        self._next_heartbeat = self._next_cleanup = time.monotonic()

    def tick(self) -> float:
        """Do what is due; return the seconds until the next call. Retries if the database is unavailable."""
        try:
            running, is_any_queued = self._jobs.unfinished()
            if is_any_queued:
                self._dequeue()
            own = [job for job in running if job.executor_id == self._executor_id]
            self._requeue_orphans(own)
            if time.monotonic() >= self._next_heartbeat:
                self._next_heartbeat = time.monotonic() + self._settings.sign_of_life_seconds
                for job in own:
                    self._jobs.heartbeat(job.job_id)
            self._requeue_expired([job for job in running if job.executor_id != self._executor_id])
            if time.monotonic() >= self._next_cleanup:
                self._next_cleanup = time.monotonic() + _CLEANUP_INTERVAL_SECONDS
                self._cleanup()
        except Unavailable:
            log.debug("maintenance waits for the jobs database")
            return _RUNNING_INTERVAL
        return _QUEUED_INTERVAL if is_any_queued else _RUNNING_INTERVAL if running else _IDLE_INTERVAL

    def _requeue_orphans(self, own: list[RunningJob]) -> None:
        """Requeue jobs that this worker holds but does not run, for example after a database error.

        The worker did not crash, so this does not count as a crash unless the job itself may have caused the error.
        """
        now = time.monotonic()
        inactive = {job.job_id: job for job in own if job.job_id not in self._active_jobs}
        self._inactive_since = {job_id: self._inactive_since.get(job_id, now) for job_id in inactive}
        for job_id, since in self._inactive_since.items():
            if now - since > _ORPHANED_SECONDS:
                log.warning("requeuing job %s, which this worker holds but does not run", job_id)
                if job_id in self._failed_jobs:
                    self._failed_jobs.discard(job_id)
                    self._jobs.requeue(inactive[job_id])
                else:
                    self._jobs.requeue_without_crash(inactive[job_id])

    def _requeue_expired(self, others: list[RunningJob]) -> None:
        """Requeue the jobs of workers whose heartbeat has not changed for too long by our monotonic clock.

        Clocks of hosts and of the database may differ, so the values are only compared for equality. With SQLite and
        Python 3.11 they have a resolution of a second, which limits how short the timeout can be.
        """
        now = time.monotonic()
        self._last_change = {job: self._last_change.get(job, now) for job in others}
        for job, since in self._last_change.items():
            if now - since > self._settings.takeover_seconds:
                log.warning("worker %s is dead; requeuing job %s", job.executor_id, job.job_id)
                self._jobs.requeue(job)

    def _cleanup(self) -> None:
        """Delete expired job records, checkpoints of jobs that have ended, and orphaned objects."""
        self._retention.delete_expired()
        try:
            for job_id in self._checkpoints.job_ids():
                if self._has_ended(job_id):
                    self._checkpoints.delete(job_id)
            self._orphaned_objects.delete_expired()
        except ServiceError as error:
            log.warning("cannot clean up the store: %s", error.detail)

    def _has_ended(self, job_id: str) -> bool:
        try:
            return self._jobs.get(job_id).is_final
        except NotFound:
            return True
