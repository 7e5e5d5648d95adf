"""Job IDs: random, or derived from an `Idempotency-Key` so that concurrent requests create one job.

The objects that a job writes into the store are found by its ID. Job records are deleted after `JOB_RETENTION_DAYS`, or
lost with their database, but published versions stay, so an ID must not be reused while anything with it is left.
"""

import hashlib
import itertools
import uuid
from collections.abc import Callable

from service.jobs.job import Job, JobRequest, trial_id
from service.registry.store import Store


def new_id() -> str:
    """Return a random ID."""
    return f"job-{uuid.uuid4().hex[:20]}"


def id_for_key(key: str, use: int) -> str:
    """Return the ID for a key that was used `use` times before, whose records have been deleted."""
    return f"job-{hashlib.sha256(key.encode()).hexdigest()[:20]}" + (f"r{use}" if use else "")


def job_for_key(
    key: str, request: JobRequest, find: Callable[[str], Job | None], store: Store
) -> tuple[str, Job | None]:
    """Return the ID and the record of the job with this key, or an unused ID and None.

    `find` returns the record of a job ID. Raises Unavailable.
    """
    for use in itertools.count():
        job_id = id_for_key(key, use)
        if job := find(job_id):
            return job_id, job
        if not _has_objects(store, job_id, request, find):
            return job_id, None
        if job := find(job_id):  # queued just now: a job's record is older than its objects
            return job_id, job
    raise AssertionError


def _has_objects(store: Store, job_id: str, request: JobRequest, find: Callable[[str], Job | None]) -> bool:
    """Return whether a published version, a checkpoint, an input or a trial of a job is left."""
    if store.exists(f"models/{request.model}/jobs/{job_id}.json") or store.list(f"jobs/{job_id}"):
        return True
    return bool(request.trials) and find(trial_id(job_id, 0)) is not None
