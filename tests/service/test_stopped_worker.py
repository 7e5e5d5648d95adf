"""A worker that was stopped until another had taken over its job, and what a failed job says in the log."""

import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from service.registry.store import open_store
from tests.service.conftest import wait_until
from tests.service.processes import QUICK, trainers_of
from tests.service.test_worker import queue_of, running_worker, submit, wait_for_end, wait_for_epochs

pytestmark = pytest.mark.slow

LONG = {"epochs": 300, "layers": [784, 16, 10]}


def stop_outside_a_transaction(process: "subprocess.Popen[str]", database: Path) -> None:
    """Stop a process that uses an SQLite database; a lock that it held meanwhile would hold up everybody else."""

    def stopped() -> bool:
        process.send_signal(signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(database, timeout=1, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            process.send_signal(signal.SIGCONT)
            return False
        return True

    wait_until(stopped, "a moment without a transaction")


def test_a_worker_that_wakes_after_its_job_has_ended_elsewhere_ends_its_child_and_keeps_nothing(tmp_path: Path) -> None:
    shared = {"database_url": f"sqlite:///{tmp_path / 'shared.sqlite'}", "store_url": str(tmp_path / "store")}
    store = open_store(shared["store_url"])
    with (
        queue_of(tmp_path / "first", **shared) as jobs,
        running_worker(tmp_path / "first", worker_name="first", takeover_seconds="5", **shared) as first,
    ):
        job_id = submit(jobs, LONG)
        wait_for_epochs(jobs, job_id)
        (child,) = trainers_of(first.pid)
        wait_until(lambda: store.list(f"jobs/{job_id}"), "a checkpoint")
        (checkpoint,) = (tmp_path / "first" / "scratch").rglob("checkpoint.npz")
        stop_outside_a_transaction(first, tmp_path / "shared.sqlite")
        before = checkpoint.stat().st_mtime_ns
        wait_until(lambda: checkpoint.stat().st_mtime_ns != before, "a checkpoint that is not kept yet")
        os.kill(child, signal.SIGSTOP)
        with running_worker(tmp_path / "second", worker_name="second", takeover_seconds="5", **shared):
            assert wait_for_end(jobs, job_id).state == "succeeded"
        assert store.list(f"jobs/{job_id}") == []
        first.send_signal(signal.SIGCONT)
        wait_until(lambda: not trainers_of(first.pid), "the end of its child")
        assert store.list(f"jobs/{job_id}") == []
        done = jobs.get(job_id)
        assert (done.state, done.version, done.attempts) == ("succeeded", 1, 2)
        assert wait_for_end(jobs, submit(jobs, QUICK)).state == "succeeded"  # it takes jobs again


def test_a_failed_job_has_a_line_that_says_so_and_why(tmp_path: Path) -> None:
    with queue_of(tmp_path) as jobs, running_worker(tmp_path) as worker:
        job_id = submit(jobs, QUICK | {"data": str(tmp_path / "nowhere")})
        failed = wait_for_end(jobs, job_id)
        assert failed.state == "failed"
        assert failed.detail
        worker.terminate()
        _, output = worker.communicate(timeout=180)
    (line,) = [line for line in output.splitlines() if f"job {job_id} failed: " in line]
    assert failed.detail in line
