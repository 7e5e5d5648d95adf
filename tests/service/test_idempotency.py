"""An Idempotency-Key: one job for as long as its record is kept, and another afterwards."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.errors import Conflict
from service.jobs.ids import id_for_key
from service.jobs.job import JobRequest
from service.jobs.queue import JobQueue
from service.registry.registry import Registry
from service.registry.store import Store, open_store
from tests.service.conftest import half_trained, wait_until
from tests.service.processes import QUICK
from tests.service.test_worker import queue_of, running_worker, wait_for_end

KEY = "monday"


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobQueue]:
    with queue_of(tmp_path) as jobs:
        yield jobs


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def request(seed: int = 0, trials: int = 0) -> JobRequest:
    return JobRequest(
        "starter", QUICK | {"seed": seed}, "mnist", "never", trials=[{"epochs": n + 1} for n in range(trials)]
    )


def forget(jobs: JobQueue, *job_ids: str) -> None:
    """Let the records of ended jobs be deleted."""
    known = {job.id for job in jobs.list()}
    wait_until(lambda: jobs.delete_ended(datetime.now(UTC), 50) or not known & set(job_ids), "the clock to move on")
    assert not {job.id for job in jobs.list()} & set(job_ids)


@pytest.mark.slow
def test_a_key_used_again_after_its_record_was_deleted_trains_anew(tmp_path: Path, store: Store) -> None:
    with queue_of(tmp_path) as jobs:
        with running_worker(tmp_path):
            first = wait_for_end(jobs, jobs.submit(request(1), KEY).id)
        forget(jobs, first.id)
        with running_worker(tmp_path):
            second = wait_for_end(jobs, jobs.submit(request(2), KEY).id)
    assert (first.version, second.version) == (1, 2)
    manifest = Registry(store).manifest("mnist", 2)
    assert (manifest.job_id, manifest.details["seed"]) == (second.id, 2)
    assert Registry(store).manifest("mnist", 1).details["seed"] == 1


@pytest.mark.parametrize("left", ["version", "checkpoint"])
def test_an_id_is_not_given_again_while_the_store_has_anything_under_it(
    jobs: JobQueue, store: Store, left: str
) -> None:
    ids = []
    for use in range(3):
        job_id = jobs.submit(request(use), KEY).id
        assert jobs.submit(request(use), KEY).id == job_id
        with pytest.raises(Conflict, match="another request"):
            jobs.submit(request(use + 1), KEY)
        if left == "version":
            Registry(store).publish("mnist", *half_trained(seed=use), job_id=job_id)
        else:
            store.put(f"jobs/{job_id}/checkpoint.npz", b"of this job")
        assert jobs.submit(request(use), KEY).id == job_id
        jobs.cancel(job_id)
        forget(jobs, job_id)
        ids.append(job_id)
    assert len(set(ids)) == 3


def test_a_search_does_not_find_the_trials_of_a_former_one(jobs: JobQueue) -> None:
    first = jobs.submit(request(1, trials=2), KEY)
    jobs.cancel(first.id)
    with jobs._client() as client:  # as deletion in steps may leave it for a while
        client.delete_workflows([first.id])
    second = jobs.submit(request(2, trials=2), KEY)
    assert {trial.request.settings["seed"] for trial in jobs.trials(second)} == {2}
    assert {trial.state for trial in jobs.trials(second)} == {"queued"}


def test_a_key_used_again_many_times_at_once_is_one_job(jobs: JobQueue, store: Store) -> None:
    first = jobs.submit(request(), KEY).id
    Registry(store).publish("mnist", *half_trained(), job_id=first)
    jobs.cancel(first)
    forget(jobs, first)
    with ThreadPoolExecutor(8) as pool:
        again = {job.id for job in pool.map(lambda _: jobs.submit(request(), KEY), range(8))}
    assert len(again) == len(jobs.list()) == 1
    assert first not in again


def test_jobs_that_an_earlier_release_queued_under_a_key_are_found_by_it(jobs: JobQueue) -> None:
    assert id_for_key(KEY, 0) == "job-d618fb157a4b382e92fc"  # the id of earlier releases
    job = jobs.submit(request(), KEY)
    assert job.id == id_for_key(KEY, 0)
    assert jobs.submit(request(), KEY) == job
