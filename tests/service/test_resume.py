"""A job that is cut off goes on where it was, and ends with the weights of one that nobody disturbed."""

import os
import signal
import tempfile
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from service.jobs.dbos_mapping import RunningJob
from service.jobs.job import Job, JobRequest, Progress
from service.jobs.trainer_process import TrainingHooks, run_training
from service.registry.registry import Registry
from service.registry.store import Store, open_store
from tests.service.conftest import wait_until
from tests.service.processes import ENDLESS, QUICK, trainers_of
from tests.service.test_worker import queue_of, running_worker, submit, wait_for_end, wait_for_epochs

pytestmark = pytest.mark.slow

LONG: dict[str, Any] = {"epochs": 150, "layers": [784, 32, 10], "dropout": 0.1}
ENORMOUS: dict[str, Any] = {"epochs": 9, "layers": [784, 1024, 1024, 10], "batch_size": 1}


@cache
def undisturbed(seed: int = 0) -> str:
    """Train LONG without a worker, and nobody in between; answer the hash of the weights."""
    with tempfile.TemporaryDirectory() as folder:
        request = JobRequest("starter", LONG | {"seed": seed}, "mnist")
        finished = run_training(request, Path(folder), 1, TrainingHooks(lambda _: None))
        return sha256(Path(finished["weights"]).read_bytes()).hexdigest()


def weights_of(store: Store, job: Job) -> str:
    assert job.version is not None, job
    return Registry(store).manifest("mnist", job.version).weights_sha256


def went_on_after(job: Job) -> int:
    """The epoch that the last attempt began after, as the job's log has it."""
    return int(next(line for line in reversed(job.progress.log) if "restarted after" in line).rpartition(" ")[2])


def wait_for_checkpoint(store: Store, job_id: str) -> None:
    wait_until(lambda: store.list(f"jobs/{job_id}"), "a checkpoint")


def test_after_a_kill_a_job_goes_on_at_its_checkpoint_here_and_on_another_host(tmp_path: Path) -> None:
    shared = {"database_url": f"sqlite:///{tmp_path / 'shared.sqlite'}", "store_url": str(tmp_path / "store")}
    store = open_store(shared["store_url"])
    with queue_of(tmp_path / "first", **shared) as jobs:
        with running_worker(tmp_path / "first", worker_name="first", takeover_seconds="5", **shared) as worker:
            job_id = submit(jobs, LONG)
            wait_for_checkpoint(store, job_id)
            worker.kill()
        with running_worker(tmp_path / "first", worker_name="first", takeover_seconds="5", **shared) as worker:
            again = wait_until(lambda: j if (j := jobs.get(job_id)).attempts == 2 else None, "the same host")
            wait_until(partial(trainers_of, worker.pid), "the training")
            reached = went_on_after(
                wait_until(
                    lambda: j if "restarted after" in str((j := jobs.get(job_id)).progress.log) else None, "a start"
                )
            )
            assert reached >= 1
            wait_until(lambda: jobs.get(job_id).progress.epoch > reached + 1, "more epochs")
            worker.kill()
        with running_worker(tmp_path / "second", worker_name="second", takeover_seconds="5", **shared):
            done = wait_for_end(jobs, job_id)
    assert again.state == "running"
    assert (done.state, done.attempts, done.crashes) == ("succeeded", 3, 2)
    assert went_on_after(done) >= reached
    assert [figures["epoch"] for figures in done.progress.history] == list(range(1, 151))
    assert weights_of(store, done) == undisturbed()
    assert store.list("jobs") == []


def test_a_killed_training_process_is_begun_again_by_its_worker_until_the_third_strike(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    with queue_of(tmp_path) as jobs, running_worker(tmp_path) as worker:
        once = submit(jobs, LONG)
        wait_for_checkpoint(store, once)
        (child,) = trainers_of(worker.pid)
        os.kill(child, signal.SIGKILL)
        always = submit(jobs, ENORMOUS)
        done = wait_for_end(jobs, once)
        assert (done.state, done.attempts, done.progress.trainer_crashes) == ("succeeded", 1, 1)
        assert "training was killed by signal 9" in done.progress.log
        assert weights_of(store, done) == undisturbed()
        for _ in range(3):
            child = wait_until(lambda: next(iter(set(trainers_of(worker.pid)) - {child}), 0), "the training")  # noqa: B023
            os.kill(child, signal.SIGKILL)
        given_up = wait_for_end(jobs, always)
    assert given_up.state == "failed"
    assert given_up.detail == ("it crashed 3 times; the last time training was killed by signal 9")


def test_a_damaged_checkpoint_or_one_of_other_settings_is_passed_over(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    with queue_of(tmp_path) as jobs, running_worker(tmp_path) as worker:
        job_id = submit(jobs, LONG | {"seed": 0})
        wait_for_checkpoint(store, job_id)
        worker.kill()
        worker.wait()
        whole = store.get(f"jobs/{job_id}/checkpoint.npz")
        other = submit(jobs, LONG | {"seed": 1})
        store.put(f"jobs/{job_id}/checkpoint.npz", whole[: len(whole) // 2])
        store.put(f"jobs/{other}/checkpoint.npz", whole)
        with running_worker(tmp_path):
            for job in (wait_for_end(jobs, job_id), wait_for_end(jobs, other)):
                assert job.state == "succeeded"
                assert "training restarts from the beginning" in " ".join(job.progress.log)
                assert weights_of(store, job) == undisturbed(job.request.settings["seed"])


def test_a_job_is_queued_again_only_while_it_is_its_workers(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.put("jobs/job-gone/checkpoint.npz", b"what a killed training in the foreground left")
    with queue_of(tmp_path) as jobs, running_worker(tmp_path):
        job_id = submit(jobs, ENDLESS)
        wait_for_epochs(jobs, job_id)
        (seen,) = jobs.running()
        assert jobs.requeue(RunningJob(job_id, "somebody-else", seen.heartbeat_at, 0)) is False
        assert jobs.get(job_id).state == "running"
        assert jobs.cancel(job_id).state == "cancelled"
        assert jobs.requeue(seen) is False  # it was cancelled while its worker handed it back
        assert jobs.get(job_id).state == "cancelled"
        wait_until(lambda: not store.list("jobs/job-gone"), "the tidying, at a worker's start")


def test_strikes_are_the_deaths_and_not_the_returns() -> None:
    progress = Progress().with_crash()
    request = JobRequest("starter", {}, "mnist")
    job = Job("job-1", "running", request, "", None, None, attempts=4, progress=progress, requeues=2)
    assert job.crashes == 2


def test_the_log_keeps_its_last_lines_and_counts_all() -> None:
    progress = Progress()
    for number in range(200):
        progress = progress.with_log_line(f"line {number}\n")
    assert (len(progress.log), progress.log[-1], progress.log_lines) == (50, "line 199", 200)
    assert len(Progress().with_log_line("x" * 10_000).log[0]) == 300


def test_a_job_waits_for_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "scratch").write_text("in the way of the folder")
    with queue_of(tmp_path) as jobs, running_worker(tmp_path):
        job_id = submit(jobs, QUICK)
        wait_until(lambda: jobs.get(job_id).state == "running", "the worker")
        wait_until(lambda: "retrying" in " ".join(jobs.get(job_id).progress.log), "a word about it")
        (tmp_path / "scratch").unlink()
        done = wait_for_end(jobs, job_id)
    assert (done.state, done.crashes) == ("succeeded", 0)
