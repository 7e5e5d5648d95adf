"""Jobs on a real PostgreSQL: the same code as on SQLite, and a database that comes and goes."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from service.backup import create_backup, restore
from service.errors import Conflict, TooManyJobs, Unavailable
from service.jobs.job import JobRequest
from service.jobs.queue import JobQueue
from service.registry.store import open_store
from service.settings import Settings
from tests.service.conftest import Server, running_server, wait_until
from tests.service.postgres import Postgres, programs, running_postgres
from tests.service.processes import ENDLESS, QUICK
from tests.service.test_predict import assert_problem
from tests.service.test_resume import LONG, undisturbed, wait_for_checkpoint, weights_of
from tests.service.test_worker import queue_of, running_worker, submit, wait_for_end, wait_for_epochs
from training import Dataset

pytestmark = pytest.mark.postgres


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with running_postgres(bin_folder) as postgres:
        yield postgres


@pytest.fixture
def shared(postgres: Postgres, tmp_path: Path) -> dict[str, str]:
    """The settings that all hosts share."""
    return {"database_url": postgres.url, "store_url": str(tmp_path / "store"), "takeover_seconds": "5"}


@pytest.fixture
def server(shared: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name, value in shared.items():
        monkeypatch.setenv(f"GLYPHSERVE_{name.upper()}", value)
    with running_server(tmp_path / "home") as server:
        yield server


def test_a_job_trains_and_is_told_over_http(server: Server) -> None:
    done = server.wait_for(server.submit(settings=QUICK, promote="always")["id"], "succeeded")
    assert (done["version"], done["promoted"], done["attempts"]) == (2, True, 1)
    assert [figures["epoch"] for figures in done["history"]] == [1, 2]
    search = server.submit(settings=QUICK, search={"space": {"seed": [1, 2]}}, promote="never")
    assert len(server.wait_for(search["id"], "succeeded")["trials"]) == 2


def test_a_job_goes_on_where_it_was_after_kills_on_two_hosts(shared: dict[str, Any], tmp_path: Path) -> None:
    store = open_store(shared["store_url"])
    with queue_of(tmp_path / "first", **shared) as jobs:
        job_id = submit(jobs, LONG)
        for attempt in (1, 2):
            with running_worker(tmp_path / "first", worker_name="first", **shared) as worker:
                wait_until(lambda: jobs.get(job_id).attempts == attempt, "the attempt")  # noqa: B023
                wait_for_checkpoint(store, job_id)
                worker.kill()
        with running_worker(tmp_path / "second", worker_name="second", **shared):
            done = wait_for_end(jobs, job_id)
    assert (done.state, done.crashes) == ("succeeded", 2)
    assert weights_of(store, done) == undisturbed()


def test_many_at_once_do_not_overfill_the_queue_and_a_key_is_good_for_one(
    shared: dict[str, Any], tmp_path: Path
) -> None:
    def submit_one(jobs: JobQueue, key: str | None, seed: int) -> str:
        try:
            return jobs.submit(JobRequest("starter", QUICK | {"seed": seed}, "mnist"), key).id
        except (TooManyJobs, Conflict) as error:
            return error.code

    with queue_of(tmp_path, max_queued_jobs="5", **shared) as jobs, ThreadPoolExecutor(12) as pool:
        same = set(pool.map(partial(submit_one, jobs, "key"), [7] * 12))
        others = list(pool.map(partial(submit_one, jobs, None), range(12)))
        assert len(same) == 1
        assert others.count("too_many_jobs") == 8
        assert submit_one(jobs, "key", 8) == "conflict"
        assert len(jobs.list()) == 5


def test_a_cancelled_job_stays_cancelled(shared: dict[str, Any], tmp_path: Path) -> None:
    with queue_of(tmp_path, **shared) as jobs, running_worker(tmp_path, **shared):
        job_id = submit(jobs, ENDLESS)
        wait_for_epochs(jobs, job_id)
        (seen,) = jobs.running()
        assert jobs.cancel(job_id).state == "cancelled"
        assert jobs.requeue(seen) is False
        with pytest.raises(Conflict):
            jobs.cancel(submit_and_wait(jobs))


def submit_and_wait(jobs: JobQueue) -> str:
    return wait_for_end(jobs, submit(jobs, QUICK)).id


def test_restarts_of_the_database_lose_no_job_and_no_prediction(
    server: Server, postgres: Postgres, digits: Dataset
) -> None:
    body = {"pixels": digits.images[0].tolist()}
    job = server.submit(settings=LONG, promote="never")
    for how in (signal.SIGINT, signal.SIGQUIT):
        wait_until(lambda: server.http.get(f"/train/{job['id']}").status_code == 200, "the database")
        postgres.stop(how)
        refused = assert_problem(server.http.post("/train", json={"settings": QUICK}), 503, "unavailable")
        assert "database" in refused["detail"]
        until = time.monotonic() + 1
        while time.monotonic() < until:
            assert server.http.post("/predict", json=body).status_code == 200
        postgres.start()
    wait_until(lambda: server.http.get(f"/train/{job['id']}").status_code == 200, "the database")
    done = server.wait_for(job["id"], "succeeded")
    store = open_store(Settings(home=server.home).store_location)
    with queue_of(server.home) as jobs:
        assert weights_of(store, jobs.get(done["id"])) == undisturbed()
        assert jobs.get(done["id"]).crashes == 0


def test_a_worker_that_finds_no_database_ends_and_one_that_loses_it_waits(
    shared: dict[str, Any], postgres: Postgres, tmp_path: Path
) -> None:
    with queue_of(tmp_path, **shared) as jobs, running_worker(tmp_path, **shared) as worker:
        job_id = submit(jobs, LONG)
        wait_for_epochs(jobs, job_id)
        postgres.stop(signal.SIGQUIT)
        with pytest.raises(Unavailable):
            jobs.get(job_id)
        assert worker.poll() is None
        postgres.start()
        assert wait_for_end(jobs, job_id).state == "succeeded"


def test_jobs_and_store_come_back_by_the_documented_commands(
    server: Server, shared: dict[str, Any], postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = server.wait_for(server.submit(settings=QUICK, promote="always")["id"], "succeeded")
    postgres.dump(tmp_path / "jobs.dump")
    told = create_backup(Settings(**shared), tmp_path / "backup.tar.gz")
    assert not told.jobs
    copy = postgres.restored(tmp_path / "jobs.dump", "copy")
    settings = Settings(home=tmp_path / "new", database_url=copy, store_url=str(tmp_path / "new-store"))
    restore(settings, tmp_path / "backup.tar.gz")
    monkeypatch.setenv("GLYPHSERVE_DATABASE_URL", copy)
    monkeypatch.setenv("GLYPHSERVE_STORE_URL", str(tmp_path / "new-store"))
    with running_server(tmp_path / "new") as restored:
        assert restored.http.get("/health/ready").json()["version"] == job["version"]
        assert restored.job(job["id"])["state"] == "succeeded"
        assert restored.wait_for(restored.submit(settings=QUICK, promote="never")["id"], "succeeded")["version"] == 3
