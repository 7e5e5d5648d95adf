"""The queue of training jobs, kept in a database by DBOS: submit, read, cancel, requeue.

DBOS takes a second to import, so the import is deferred until the queue is first used.
"""

import logging
import shutil
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from service.errors import Conflict, InsufficientStorage, NotFound, TooManyJobs
from service.jobs.database import Database
from service.jobs.dbos_mapping import (
    PROGRESS,
    REQUEUES,
    RunningJob,
    jobs_from_workflows,
    progress_to_json,
    read_page,
    running_from_workflow,
)
from service.jobs.dequeuing import wake_workers
from service.jobs.ids import job_for_key, new_id
from service.jobs.job import Job, JobRequest, Progress, trial_id
from service.registry.store import open_store
from service.settings import Settings

if TYPE_CHECKING:
    from dbos import DBOSClient, EnqueueOptions, WorkflowStatus

log = logging.getLogger(__name__)

WORKFLOW = "train"
TRAINING_QUEUE = "training"
SEARCH_QUEUE = "searches"
"""The queue of searches, which only wait for their trials; those are in the training queue."""
APPLICATION_VERSION = "1"
"""Version of the workflow's steps. Pinned, so that a new release continues the jobs of the previous one."""

_LIST_LIMIT = 200
_FINAL = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class JobQueue:
    """The queue of training jobs. Thread-safe; blocks."""

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        self._settings = settings
        self._submit_lock = threading.Lock()
        self._database = Database(settings)
        self._client = self._database.client

    def submit(self, request: JobRequest, idempotency_key: str | None = None) -> Job:
        """Queue a job, with all trials if it is a search; a repeated key returns the job of the first call.

        Raises TooManyJobs, InsufficientStorage, Conflict if the key was used for another request, Unavailable.
        """
        job_id = new_id()
        if idempotency_key:
            store = open_store(self._settings.store_location)
            job_id, existing = job_for_key(idempotency_key, request, self._find_one, store)
            if existing:
                return _require_same(existing, request)
        self._settings.home.mkdir(parents=True, exist_ok=True)
        free, required = shutil.disk_usage(self._settings.home).free, self._settings.min_free_bytes
        if free < required:
            raise InsufficientStorage(f"{free // 2**20} MiB are free; training requires {required // 2**20} MiB")
        with self._client() as client, self._submit_lock:  # otherwise concurrent calls could exceed the limit
            queued = len(client.list_workflows(name=WORKFLOW, status=["ENQUEUED", "DELAYED"], load_input=False))
            if queued + (len(request.trials) or 1) > self._settings.max_queued_jobs:
                raise TooManyJobs(f"{queued} jobs are queued already", retry_after_seconds=30)
            self._enqueue(client, job_id, SEARCH_QUEUE if request.trials else TRAINING_QUEUE, request)
            self.queue_trials(job_id, request)
        log.info("queued job %s", job_id)
        return _require_same(self.get(job_id), request)  # a concurrent call may have used the same key

    def queue_trials(self, job_id: str, request: JobRequest) -> None:
        """Queue the trials of a search that were not queued before."""
        ids = [trial_id(job_id, number) for number in range(len(request.trials))]
        with self._client() as client:
            existing = {s.workflow_id for s in client.list_workflows(workflow_ids=ids, load_input=False)} if ids else ()
            for name, settings in zip(ids, request.trials, strict=True):
                if name not in existing:
                    trial = replace(request, settings=request.settings | settings, trials=[], trial_of=job_id)
                    self._enqueue(client, name, TRAINING_QUEUE, trial)

    def _enqueue(self, client: "DBOSClient", job_id: str, queue: str, request: JobRequest) -> None:
        options: EnqueueOptions = {
            "workflow_name": WORKFLOW,
            "queue_name": queue,
            "workflow_id": job_id,
            "app_version": APPLICATION_VERSION,
        }
        client.enqueue(options, asdict(request))
        wake_workers(self._settings.home)

    def trials(self, search: Job) -> "list[Job]":
        """Return the trials of a search, in order; none for another job."""
        ids = [trial_id(search.id, number) for number in range(len(search.request.trials))]
        found = self.find(ids)
        return [found[name] for name in ids if name in found]

    def find(self, ids: Sequence[str]) -> dict[str, Job]:
        """Return the existing jobs with these IDs, by one query."""
        if not ids:
            return {}
        with self._client() as client:
            return {job.id: job for job in jobs_from_workflows(client.list_workflows(workflow_ids=[*ids]))}

    def get(self, job_id: str) -> Job:
        """Return a job. Raises NotFound."""
        if (job := self._find_one(job_id)) is None:
            raise NotFound("there is no job of that id")
        return job

    def page(self, limit: int, after: str | None = None) -> tuple[list[Job], str | None]:
        """Return a page of jobs, newest first, and the value of `after` for the next one, None on the last.

        Raises UnprocessableContent.
        """
        with self._client() as client:
            found, following = read_page(partial(client.list_workflows, name=WORKFLOW, sort_desc=True), limit, after)
        return jobs_from_workflows(found), following

    def list(self) -> list[Job]:
        """Return the newest 200 jobs, newest first."""
        return self.page(_LIST_LIMIT)[0]

    def cancel(self, job_id: str) -> Job:
        """Cancel a job, with all trials if it is a search. Raises NotFound, or Conflict if it has ended."""
        job = self.get(job_id)
        if not job.is_final:
            with self._client() as client:
                client.cancel_workflow(job_id)
                job = self.get(job_id)
                if job.state == "cancelled" and (trials := self.trials(job)):
                    client.cancel_workflows([trial.id for trial in trials])
        if job.state != "cancelled":  # it may have ended meanwhile
            raise Conflict(f"the job has ended: {job.state}")
        return job

    def save_progress(self, job_id: str, progress: Progress) -> None:
        """Save the progress of a job; called by its worker."""
        with self._client() as client:
            client.update_workflow_attributes(job_id, {PROGRESS: progress_to_json(progress)}, merge=True)

    def is_cancelled(self, job_id: str) -> bool:
        """Return whether a job was cancelled or deleted."""
        status = self._status(job_id)
        return status is None or status.status == "CANCELLED"

    def is_held_by(self, job_id: str, executor_id: str) -> bool:
        """Return whether a worker still holds a job: it has not ended, and no other worker has taken it over."""
        status = self._status(job_id)
        return status is not None and status.status == "PENDING" and status.executor_id == executor_id

    def has_ended(self, job_id: str) -> bool:
        """Return whether a job has ended or was deleted."""
        status = self._status(job_id)
        return status is None or status.status in _FINAL

    def running(self) -> "tuple[RunningJob, ...]":
        """Return the jobs that workers hold."""
        return self.unfinished()[0]

    def unfinished(self) -> "tuple[tuple[RunningJob, ...], bool]":
        """Return the jobs that workers hold, and whether others are queued; by one query."""
        with self._client() as client:
            found = client.list_workflows(
                name=WORKFLOW, status=["PENDING", "ENQUEUED"], load_input=False, load_output=False
            )
        running = tuple(running_from_workflow(status) for status in found if status.status == "PENDING")
        return running, len(running) < len(found)

    def heartbeat(self, job_id: str) -> None:
        """Update the heartbeat of a job; called by its worker."""
        with self._client() as client:
            client.update_workflow_attributes(job_id, {}, merge=True)

    def requeue(self, job: RunningJob) -> bool:
        """Return a job to the queue; False if its worker no longer held it.

        Atomic, so that a job that was cancelled or taken over meanwhile stays so. DBOS marks this function as internal:
        its public `resume` would revive a cancelled job.
        """
        with self._client() as client:
            requeued = client._sys_db.reenqueue_for_recovery(job.job_id, [job.executor_id], TRAINING_QUEUE)
        wake_workers(self._settings.home)
        return requeued

    def release(self, executor_id: str) -> None:
        """Return the jobs of a worker that shuts down to the queue; this does not count as a crash."""
        for job in self.running():
            if job.executor_id == executor_id:
                self.requeue_without_crash(job)

    def requeue_without_crash(self, job: RunningJob) -> None:
        """Return a job to the queue that its healthy worker does not run; this does not count as a crash."""
        with self._client() as client:
            client.update_workflow_attributes(job.job_id, {REQUEUES: job.requeues + 1}, merge=True)
        self.requeue(job)

    def recover(self, executor_id: str) -> None:
        """Return the jobs of a killed worker to the queue; they run next, since they are older than queued ones."""
        for job in self.running():
            if job.executor_id == executor_id:
                self.requeue(job)

    def newest(self) -> datetime | None:
        """Return when the newest job was created; None if there are no jobs."""
        with self._client() as client:
            found = client.list_workflows(name=WORKFLOW, sort_desc=True, limit=1, load_input=False, load_output=False)
        return datetime.fromtimestamp((found[0].created_at or 0) / 1000, UTC) if found else None

    def delete_ended(self, before: datetime, limit: int) -> int:
        """Delete the records of up to `limit` jobs that ended before a time; return how many."""
        with self._client() as client:
            old = client.list_workflows(
                name=WORKFLOW, status=_FINAL, completed_before=before.isoformat(), limit=limit, load_input=False
            )
            if old:
                client.delete_workflows([status.workflow_id for status in old])
        return len(old)

    def _find_one(self, job_id: str) -> Job | None:
        with self._client() as client:
            found = client.list_workflows(name=WORKFLOW, workflow_ids=[job_id])
        return next(iter(jobs_from_workflows(found)), None)

    def _status(self, job_id: str) -> "WorkflowStatus | None":
        """Return the record of a job without its input and output."""
        with self._client() as client:
            found = client.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
        return found[0] if found else None

    @property
    def last_error(self) -> str | None:
        """The current error of the database, if known; reads a small file at most."""
        return self._database.last_error

    def close(self) -> None:
        """Close the database connection."""
        self._database.close()


def _require_same(job: Job, request: JobRequest) -> Job:
    if job.request != request:
        raise Conflict("this Idempotency-Key was used for another request")
    return job
