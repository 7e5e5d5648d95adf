"""The ids of jobs: random, or derived from an `Idempotency-Key` so that two requests at once make one job.

What a job writes into the store is found by its id. Records of jobs are deleted after `JOB_RETENTION_DAYS`, or lost
with their database, while published versions stay; so an id must not be given twice while anything is left under it.
"""

import hashlib
import itertools
import uuid
from collections.abc import Callable

from service.jobs.job import Job, JobRequest, trial_id
from service.registry.store import Store


def new_id() -> str:
    """A random id."""
    return f"job-{uuid.uuid4().hex[:20]}"


def id_for_key(key: str, use: int) -> str:
    """The id for a key: `use` counts how often the key was used before, its records deleted in between."""
    return f"job-{hashlib.sha256(key.encode()).hexdigest()[:20]}" + (f"r{use}" if use else "")


def job_for_key(
    key: str, request: JobRequest, find: Callable[[str], Job | None], store: Store
) -> tuple[str, Job | None]:
    """Give the id and the record of the job that a key is used for, or the id for a new one and None.

    `find` looks a record up by its id. Raises Unavailable.
    """
    for use in itertools.count():
        job_id = id_for_key(key, use)
        if known := find(job_id):
            return job_id, known
        if not _is_left(store, job_id, request, find):
            return job_id, None
        if known := find(job_id):  # queued in this moment: a record is older than what its job leaves
            return job_id, known
    raise AssertionError


def _is_left(store: Store, job_id: str, request: JobRequest, find: Callable[[str], Job | None]) -> bool:
    """Whether anything of a job is left: a published version, a checkpoint, what it was given, a trial."""
    if store.exists(f"models/{request.model}/jobs/{job_id}.json") or store.list(f"jobs/{job_id}"):
        return True
    return bool(request.trials) and find(trial_id(job_id, 0)) is not None
