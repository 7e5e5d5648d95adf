"""The worker process: killed, stopped, gone for good, and without its database."""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from service.jobs.events import ProgressReporter
from service.jobs.gate import decide_promotion
from service.jobs.job import MAX_CRASHES, Job, JobRequest, Progress
from service.jobs.queue import JobQueue
from service.registry.registry import Registry
from service.registry.store import open_store
from service.settings import Settings
from tests.service.conftest import COMMAND, Server, half_trained, running_server, wait_until
from tests.service.processes import ENDLESS, QUICK, trainers_of, worker_of
from training import Dataset

pytestmark = pytest.mark.slow


@contextmanager
def running_worker(home: Path, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """Start `glyphserve worker` and wait until it is ready."""
    environment = os.environ | {f"GLYPHSERVE_{name.upper()}": value for name, value in settings.items()}
    command = [*COMMAND, "worker", "--home", str(home)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("is ready" in line for line in process.stderr)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@contextmanager
def queue_of(home: Path, **settings: str) -> Iterator[JobQueue]:
    jobs = JobQueue(Settings(home=home, **settings))
    yield jobs
    jobs.close()


def submit(jobs: JobQueue, settings: dict[str, object], promote: str = "never") -> str:
    return jobs.submit(JobRequest("starter", settings, "mnist", promote)).id


def wait_for_epochs(jobs: JobQueue, job_id: str) -> Job:
    return wait_until(lambda: j if (j := jobs.get(job_id)).progress.epoch else None, "its first epoch")  # type: ignore[no-any-return]


def wait_for_end(jobs: JobQueue, job_id: str) -> Job:
    return wait_until(lambda: j if (j := jobs.get(job_id)).is_final else None, "its end")  # type: ignore[no-any-return]


def test_a_job_that_its_worker_holds_and_never_began_goes_on_without_a_strike(tmp_path: Path) -> None:
    with queue_of(tmp_path) as jobs, running_worker(tmp_path):
        endless = submit(jobs, ENDLESS)
        wait_for_epochs(jobs, endless)
        job_id = submit(jobs, QUICK)
        with closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as database, database:
            # What a worker leaves that has taken a job while its database went away, and never heard that it had.
            database.execute(
                "UPDATE workflow_status SET status = 'PENDING', recovery_attempts = 1, executor_id ="
                " (SELECT executor_id FROM workflow_status WHERE workflow_uuid = ?) WHERE workflow_uuid = ?",
                (endless, job_id),
            )
        wait_until(lambda: jobs.get(job_id).state == "queued", "its return to the queue")
        jobs.cancel(endless)
        done = wait_for_end(jobs, job_id)
    assert (done.state, done.attempts, done.crashes) == ("succeeded", 2, 0)


def test_a_worker_that_is_told_to_end_is_gone_at_once_and_gives_its_job_back(tmp_path: Path) -> None:
    with queue_of(tmp_path) as jobs:
        with running_worker(tmp_path) as worker:
            job_id = submit(jobs, ENDLESS)
            wait_for_epochs(jobs, job_id)
            (child,) = trainers_of(worker.pid)
            threads = [int(path.name) for pid in (worker.pid, child) for path in Path(f"/proc/{pid}/task").iterdir()]
            assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads} == {
                max(10, os.getpriority(os.PRIO_PROCESS, 0))
            }
            worker.send_signal(signal.SIGTERM)
            _, errors = worker.communicate(timeout=60)
            assert worker.returncode == 0
            assert "Traceback" not in errors
            wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child to end")
        assert (jobs.get(job_id).state, jobs.get(job_id).crashes) == ("queued", 0)
        with running_worker(tmp_path):
            wait_until(lambda: jobs.get(job_id).state == "running", "another worker")
            assert jobs.cancel(job_id).state == "cancelled"


def test_a_job_is_left_to_a_worker_that_lives_and_taken_over_from_one_that_is_gone(tmp_path: Path) -> None:
    shared = {"database_url": f"sqlite:///{tmp_path / 'shared.sqlite'}", "store_url": str(tmp_path / "store")}
    hosts = [tmp_path / "first", tmp_path / "second"]
    with (
        queue_of(hosts[0], **shared) as jobs,
        running_worker(hosts[0], worker_name="first", takeover_seconds="5", **shared) as first,
        running_worker(hosts[1], worker_name="second", takeover_seconds="5", **shared) as second,
    ):
        job_id = submit(jobs, ENDLESS)
        wait_for_epochs(jobs, job_id)
        owner = jobs.running()[0].executor_id
        until = time.monotonic() + 7
        while time.monotonic() < until:  # nothing shall happen: there is no event to wait for
            assert [job.executor_id for job in jobs.running()] == [owner]
            time.sleep(0.1)
        assert jobs.get(job_id).attempts == 1
        gone, other = (first, "second-0") if owner == "first-0" else (second, "first-0")
        gone.kill()
        wait_until(lambda: [job.executor_id for job in jobs.running()] == [other], "the other host")
        assert jobs.get(job_id).attempts == 2
        jobs.cancel(job_id)


def test_a_job_that_kills_every_worker_is_given_up(tmp_path: Path) -> None:
    with queue_of(tmp_path) as jobs:
        with running_worker(tmp_path) as worker:
            job_id = submit(jobs, ENDLESS)
            wait_until(partial(trainers_of, worker.pid), "the training")
        for attempt in range(2, MAX_CRASHES + 1):
            with running_worker(tmp_path) as worker:
                wait_until(partial(trainers_of, worker.pid), "the training")
                assert jobs.get(job_id).attempts == attempt
        with running_worker(tmp_path):
            given_up = wait_for_end(jobs, job_id)
    assert given_up.state == "failed"
    assert given_up.detail == "it crashed 3 times; the last time its worker died"


def test_progress_that_cannot_be_written_does_not_fail_the_job(tmp_path: Path) -> None:
    nowhere = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
    job = Job("job-1", "running", JobRequest("starter", {}, "mnist"), "", None, None, 1, Progress())
    reporter = ProgressReporter(JobQueue(Settings(home=tmp_path, database_url=nowhere)), job, "worker-0")
    reporter.on_event({"event": "start", "epochs": 3})
    reporter.on_event({"event": "epoch", "epoch": 1})
    assert reporter.flush() is False


def test_judging_again_after_a_cut_does_not_promote_again(tmp_path: Path) -> None:
    registry = Registry(open_store(str(tmp_path)))
    for seed in range(2):
        registry.publish("mnist", *half_trained(seed=seed))
    request = JobRequest("starter", QUICK, "mnist", "always")
    first = decide_promotion(registry, "production", request, 1)
    registry.promote("mnist", "production", 2, reason="by somebody, in between")
    assert decide_promotion(registry, "production", request, 1) == first
    assert registry.alias("mnist", "production").version == 2


def test_a_killed_worker_takes_its_child_along_and_its_job_ends_once_all_the_same(server: Server) -> None:
    job = server.submit(settings={"epochs": 400, "layers": [784, 16, 10]}, promote="never")
    wait_until(lambda: server.job(job["id"])["epoch"] > 0, "its first epoch")
    worker = worker_of(server)
    (child,) = trainers_of(worker)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child to end")
    done = server.wait_for(job["id"], "succeeded")
    assert done["attempts"] == 2
    assert [epoch["epoch"] for epoch in done["history"]] == list(range(1, 401))
    versions = server.http.get("/models/mnist").json()["versions"]
    assert [v["version"] for v in versions if v["manifest"].get("job_id") == job["id"]] == [done["version"]]


def test_models_and_jobs_survive_a_restart_and_a_job_cut_off_goes_on(tmp_path: Path, digits: Dataset) -> None:
    body = {"pixels": digits.images[0].tolist()}
    with running_server(tmp_path / "home") as server:
        promoted = server.wait_for(server.submit(settings=QUICK, promote="always")["id"], "succeeded")
        cut = server.submit(settings={"epochs": 300, "layers": [784, 16, 10]}, promote="never")
        wait_until(lambda: server.job(cut["id"])["epoch"] > 0, "its first epoch")
        worker = worker_of(server)
        assert server.stop() == 0
        wait_until(lambda: not Path(f"/proc/{worker}").exists(), "the worker to end")
    with running_server(tmp_path / "home") as server:
        assert server.http.post("/predict", json=body).json()["version"] == promoted["version"]
        wait_until(lambda: server.http.get(f"/train/{cut['id']}").status_code == 200, "the jobs database")
        server.wait_for(cut["id"], "succeeded")
        assert server.job(promoted["id"])["state"] == "succeeded"


def test_two_workers_of_one_host_get_different_ids(tmp_path: Path) -> None:
    command = [*COMMAND, "worker", "--stop-when-stdin-closes"]
    environment = os.environ | {"GLYPHSERVE_HOME": str(tmp_path)}
    workers = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ids = set()
    for worker in workers:
        assert worker.stderr is not None
        line = next(line for line in worker.stderr if "is ready" in line)
        ids.add(line.split("worker ")[-1].split()[0])
    for worker in workers:
        worker.communicate(timeout=60)
        assert worker.returncode == 0
    assert ids == {"worker-0", "worker-1"}
