"""Workers that wait to be woken, instead of polling."""

import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from service.jobs.dequeuing import open_wakeup, wake_workers
from service.jobs.job import JobRequest
from tests.service.processes import QUICK
from tests.service.test_worker import queue_of, running_worker, submit, wait_for_end

pytestmark = pytest.mark.slow

WAITING = """
import sys
from service.signals import shutdown_waiter
wait = shutdown_waiter(woken_by=int(sys.argv[1]))
print("ready", flush=True)
while (received := wait(None)) is None:
    print("woken", flush=True)
"""
LOOKED_SECONDS = 10.0
MOST_READS = 100
"""By an idle worker in that time. One that polls its two queues four times a second makes over 250."""


def reads_of(pid: int) -> int:
    """Count the read calls that a process has made."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["syscr"])


def is_woken(pipe: int) -> bool:
    """Say whether the worker of a pipe was woken since this was asked last."""
    woken = bool(select.select([pipe], [], [], 0)[0])
    return woken and bool(os.read(pipe, 4096))


def test_an_idle_worker_hardly_looks_for_jobs_and_takes_what_is_queued_all_the_same(tmp_path: Path) -> None:
    with queue_of(tmp_path) as jobs, running_worker(tmp_path) as worker:
        for _ in range(2):
            assert wait_for_end(jobs, submit(jobs, QUICK)).state == "succeeded"
        time.sleep(LOOKED_SECONDS)  # until the last job is forgotten: no event tells
        before = reads_of(worker.pid)
        time.sleep(LOOKED_SECONDS)
        assert reads_of(worker.pid) - before < MOST_READS


def test_workers_are_woken_whenever_a_job_is_queued(tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    pipes = [open_wakeup(tmp_path / "workers", number) for number in range(2)]
    with queue_of(tmp_path) as jobs:
        assert [is_woken(pipe) for pipe in pipes if pipe] == [False, False]
        submit(jobs, QUICK)
        assert [is_woken(pipe) for pipe in pipes if pipe] == [True, True]
        search = JobRequest("starter", QUICK, "mnist", trials=[{"batch_size": 32}])
        job = jobs.submit(search)
        assert [is_woken(pipe) for pipe in pipes if pipe] == [True, True]
        jobs.queue_trials(job.id, JobRequest("starter", QUICK, "mnist", trials=[{}, {}]))
        assert [is_woken(pipe) for pipe in pipes if pipe] == [True, True]


def test_waking_neither_blocks_nor_fails_whatever_lies_there(tmp_path: Path) -> None:
    workers = tmp_path / "workers"
    wake_workers(tmp_path)
    workers.mkdir()
    (workers / "0.wakeup").write_text("a file of a backup")
    (workers / "1.wakeup").mkdir()
    os.mkfifo(workers / "2.wakeup")  # of a worker that is gone
    pipe = open_wakeup(workers, 0)
    assert pipe is not None
    with suppress(BlockingIOError):
        while os.write(pipe, bytes(4096)):
            pass
    wake_workers(tmp_path)  # the pipe is full
    assert is_woken(pipe)
    assert open_wakeup(tmp_path / "nowhere", 0) is None


def test_a_wakeup_ends_a_wait_and_is_used_up(tmp_path: Path) -> None:
    pipe = open_wakeup(tmp_path, 0)
    assert pipe is not None
    (tmp_path / "workers").symlink_to(tmp_path)
    command = [sys.executable, "-c", WAITING, str(pipe)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[pipe]) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "ready\n"
        for _ in range(3):
            wake_workers(tmp_path)
            assert waiting.stdout.readline() == "woken\n"
        waiting.terminate()
        assert waiting.stdout.read() == ""
