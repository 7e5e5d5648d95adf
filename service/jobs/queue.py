"""Training jobs: submit, look at, cancel. A small seam in front of DBOS, which keeps them in a database.

DBOS takes a second to import, so that is left until the first job is asked for.
"""

import json
import logging
import shutil
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from service.errors import Conflict, NoDiskSpace, NotFound, TooManyJobs
from service.jobs.database import Database
from service.jobs.dbos_mapping import (
    PROGRESS,
    REQUEUES,
    RunningJob,
    jobs_from_workflows,
    read_page,
    running_from_workflow,
)
from service.jobs.ids import job_for_key, new_id
from service.jobs.job import Job, JobRequest, Progress, trial_id
from service.jobs.wakeup import wake_workers
from service.registry.store import open_store
from service.settings import Settings

if TYPE_CHECKING:
    from dbos import DBOSClient, EnqueueOptions

log = logging.getLogger(__name__)

WORKFLOW = "train"
TRAINING_QUEUE = "training"
SEARCH_QUEUE = "searches"
"""The queue of searches: they only wait for their trials, which are in the other."""
APPLICATION_VERSION = "1"
"""Of the workflow's steps. Pinned: a new release goes on with the jobs of the one before."""

_LISTED = 200
_FINAL = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class JobQueue:
    """The queue of training jobs."""

    def __init__(self, settings: Settings) -> None:
        """Touch nothing yet."""
        self._settings = settings
        self._queueing = threading.Lock()
        self._database = Database(settings)
        self._client = self._database.client

    def submit(self, request: JobRequest, idempotency_key: str | None = None) -> Job:
        """Queue a job, a search with all its trials; the same key again answers the job of the first time.

        Raises TooManyJobs, NoDiskSpace, Conflict when the key was used for another request, Unavailable.
        """
        job_id = new_id()
        if idempotency_key:
            store = open_store(self._settings.store_location)
            job_id, known = job_for_key(idempotency_key, request, self._record, store)
            if known:
                return _same(known, request)
        self._settings.home.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._settings.home).free
        if free < self._settings.min_free_bytes:
            raise NoDiskSpace(f"{free // 2**20} MiB are free, training wants {self._settings.min_free_bytes // 2**20}")
        with self._client() as client, self._queueing:  # else several at once would all find room
            waiting = len(client.list_workflows(name=WORKFLOW, status=["ENQUEUED", "DELAYED"], load_input=False))
            if waiting + (len(request.trials) or 1) > self._settings.max_queued_jobs:
                raise TooManyJobs(f"{waiting} jobs are waiting already", retry_after_seconds=30)
            self._enqueue(client, job_id, SEARCH_QUEUE if request.trials else TRAINING_QUEUE, request)
            self.queue_trials(job_id, request)
        log.info("job %s is queued", job_id)
        return _same(self.get(job_id), request)  # the same key may have been used in this very moment

    def queue_trials(self, job_id: str, request: JobRequest) -> None:
        """Queue the trials of a search; those that are queued already, or were, stay as they are."""
        ids = [trial_id(job_id, number) for number in range(len(request.trials))]
        with self._client() as client:
            known = {s.workflow_id for s in client.list_workflows(workflow_ids=ids, load_input=False)} if ids else ()
            for name, settings in zip(ids, request.trials, strict=True):
                if name not in known:
                    trial = replace(request, settings=request.settings | settings, trials=[], trial_of=job_id)
                    self._enqueue(client, name, TRAINING_QUEUE, trial)

    def _enqueue(self, client: "DBOSClient", job_id: str, queue: str, request: JobRequest) -> None:
        client.enqueue(_options(job_id, queue), asdict(request))
        wake_workers(self._settings.home)

    def trials(self, search: Job) -> "list[Job]":
        """Give the trials of a search, in order; none for another job."""
        ids = [trial_id(search.id, number) for number in range(len(search.request.trials))]
        found = self.find(ids)
        return [found[name] for name in ids if name in found]

    def find(self, ids: Sequence[str]) -> dict[str, Job]:
        """Find jobs by their ids, by one query; those that are not there are left out."""
        if not ids:
            return {}
        with self._client() as client:
            return {job.id: job for job in jobs_from_workflows(client.list_workflows(workflow_ids=[*ids]))}

    def get(self, job_id: str) -> Job:
        """Find a job. Raises NotFound."""
        if (job := self._record(job_id)) is None:
            raise NotFound("there is no job of that id")
        return job

    def page(self, limit: int, after: str | None = None) -> tuple[list[Job], str | None]:
        """List jobs, newest first, and say what the next page is `after`: None on the last. Raises InvalidInput."""
        with self._client() as client:
            found, following = read_page(partial(client.list_workflows, name=WORKFLOW, sort_desc=True), limit, after)
        return jobs_from_workflows(found), following

    def list(self) -> list[Job]:
        """List the jobs, newest first, at most 200."""
        return self.page(_LISTED)[0]

    def cancel(self, job_id: str) -> Job:
        """Cancel a job that has not ended, a search with all its trials. Raises NotFound, or Conflict when it has."""
        job = self.get(job_id)
        if not job.is_final:
            with self._client() as client:
                client.cancel_workflow(job_id)
                job = self.get(job_id)
                if job.state == "cancelled" and (trials := self.trials(job)):
                    client.cancel_workflows([trial.id for trial in trials])
        if job.state != "cancelled":  # it may have ended in this very moment
            raise Conflict(f"the job has ended: {job.state}")
        return job

    def save_progress(self, job_id: str, progress: Progress) -> None:
        """Write a job's progress; its worker does."""
        with self._client() as client:
            client.update_workflow_attributes(job_id, {PROGRESS: json.dumps(asdict(progress))}, merge=True)

    def is_cancelled(self, job_id: str) -> bool:
        """Say whether a job was cancelled, or is gone, without reading all of it."""
        with self._client() as client:
            found = client.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
        return not found or found[0].status == "CANCELLED"

    def is_held_by(self, job_id: str, executor_id: str) -> bool:
        """Say whether a worker still has a job: it was neither cancelled nor ended, nor has another taken it over."""
        with self._client() as client:
            found = client.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
        return bool(found) and found[0].status == "PENDING" and found[0].executor_id == executor_id

    def has_ended(self, job_id: str) -> bool:
        """Say whether a job has ended, or is gone, without reading all of it."""
        with self._client() as client:
            found = client.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
        return not found or found[0].status in _FINAL

    def running(self) -> "tuple[RunningJob, ...]":
        """Tell which jobs workers have taken."""
        return self.unfinished()[0]

    def unfinished(self) -> "tuple[tuple[RunningJob, ...], bool]":
        """Tell which jobs workers have taken, and whether others wait for a worker; by one query."""
        with self._client() as client:
            found = client.list_workflows(
                name=WORKFLOW, status=["PENDING", "ENQUEUED"], load_input=False, load_output=False
            )
        running = tuple(running_from_workflow(status) for status in found if status.status == "PENDING")
        return running, len(running) < len(found)

    def heartbeat(self, job_id: str) -> None:
        """Give a sign of life for a job; its worker does."""
        with self._client() as client:
            client.update_workflow_attributes(job_id, {}, merge=True)

    def requeue(self, job: RunningJob) -> bool:
        """Queue a job again that its worker will not end; answer whether it was still that worker's.

        In one step, so that a job that was cancelled or taken over in this moment stays so. DBOS marks this internal:
        its public `resume` would revive a cancelled job.
        """
        with self._client() as client:
            queued = client._sys_db.reenqueue_for_recovery(job.job_id, [job.executor_id], TRAINING_QUEUE)
        wake_workers(self._settings.home)
        return queued

    def release(self, executor_id: str) -> None:
        """Queue again what a worker has taken that takes no more; the job has no strike from it."""
        for job in self.running():
            if job.executor_id == executor_id:
                with self._client() as client:
                    client.update_workflow_attributes(job.job_id, {REQUEUES: job.requeues + 1}, merge=True)
                self.requeue(job)

    def recover(self, executor_id: str) -> None:
        """Queue again what a worker has left behind that was killed; it goes on first, being older than what waits."""
        for job in self.running():
            if job.executor_id == executor_id:
                self.requeue(job)

    def newest(self) -> datetime | None:
        """Give the time at which the newest job was queued; None without any."""
        with self._client() as client:
            found = client.list_workflows(name=WORKFLOW, sort_desc=True, limit=1, load_input=False, load_output=False)
        return datetime.fromtimestamp((found[0].created_at or 0) / 1000, UTC) if found else None

    def delete_ended(self, before: datetime, most: int) -> int:
        """Delete the records of at most so many jobs that ended before a time; the versions that they made stay."""
        with self._client() as client:
            old = client.list_workflows(
                name=WORKFLOW, status=_FINAL, completed_before=before.isoformat(), limit=most, load_input=False
            )
            if old:
                client.delete_workflows([status.workflow_id for status in old])
        return len(old)

    def _record(self, job_id: str) -> Job | None:
        with self._client() as client:
            found = client.list_workflows(name=WORKFLOW, workflow_ids=[job_id])
        return next(iter(jobs_from_workflows(found)), None)

    @property
    def last_error(self) -> str | None:
        """What is wrong with the database, as far as is known; reads a small file at most."""
        return self._database.last_error

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()


def _options(job_id: str, queue: str) -> "EnqueueOptions":
    return {
        "workflow_name": WORKFLOW,
        "queue_name": queue,
        "workflow_id": job_id,
        "app_version": APPLICATION_VERSION,
    }


def _same(job: Job, request: JobRequest) -> Job:
    if job.request != request:
        raise Conflict("this Idempotency-Key was used for another request")
    return job
