"""Kills (R6): `kill -9` at random moments, and at every crash point of a job and of a publish.

    python -m benchmarks.kills [--kills 200] [--seed 0] [--minutes 60] [--points]

A real service: API, worker, training process. Jobs are submitted without pause, each with an Idempotency-Key, again
until it is acknowledged. Random kills hit the API (which is started again at once, as a process manager would), the
worker (which the API starts again) or the training process; no job is hit a third time, since the third strike fails it
by rule. Recovery is the time from the kill until the job says that it was restarted, its data loaded. Most of it is
Python importing libraries, so what that alone takes is measured in between.

Crash points: strace kills the worker as it enters the n-th call of a kind, for n = 1, 2, … until a whole job needs no
more calls. The calls are those by which anything becomes durable or visible: fsync, link, rename in the store,
fdatasync and unlink in the database and its journal. The same for the API while it takes a job.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.disturbed import JOB, Service, Watcher, account, detach, spread, wait_until
from service.jobs.job import Job
from service.jobs.queue import JobQueue

CALLS = ("fsync", "link,linkat", "rename,renameat,renameat2", "unlink,unlinkat", "fdatasync")
_QUEUE = 3
_HITS = 2
_IMPORTS = 0.1


def random_kills(service: Service, kills: int, seed: int, minutes: float = 60.0) -> dict[str, list[float]]:
    """Kill so often, or for so long; answer the seconds of recovery by what was killed."""
    deadline = time.monotonic() + 60 * minutes
    recovery: dict[str, list[float]] = {"api": [], "worker": [], "training": []}
    imports: list[float] = []
    rng = random.Random(seed)  # noqa: S311 -- moments to kill at
    jobs, number = service.jobs(), 0
    while sum(map(len, recovery.values())) < kills and time.monotonic() < deadline:
        for _ in range(_QUEUE - sum(not job.is_final for job in jobs.list())):
            service.submit(f"job {number}", settings=JOB, promote="never")
            number += 1
        time.sleep(rng.uniform(0, 1.5))
        if any(job.crashes >= _HITS for job in jobs.list() if not job.is_final):
            time.sleep(0.2)
            continue
        kind = rng.choice(["api", "worker", "worker", "training"])
        targets = {"api": service.apis(), "worker": service.workers(), "training": list(service.trainers())}
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself in this moment
            recovery[kind] += [_kill(service, jobs, kind, pid) for pid in targets[kind][:1]]
            if rng.random() < _IMPORTS:
                imports.append(_import_seconds())
    jobs.close()
    return recovery | {"only importing what a worker needs": imports}


def _import_seconds() -> float:
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", "import service.jobs.worker"], check=True)
    return time.monotonic() - started


def _kill(service: Service, jobs: JobQueue, kind: str, pid: int) -> float:
    """Kill a process; answer the seconds until the job that ran goes on, or another does if none ran."""
    before, running = service.trainers(), [job for job in jobs.list() if job.state == "running"]
    started = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    if kind == "api":
        wait_until(service.is_ready, "the API")
    wait_until(lambda: service.trainers() - before if not running else _goes_on(jobs, running[0]), "training")
    return time.monotonic() - started


def _goes_on(jobs: JobQueue, before: Job) -> bool:
    """Tell whether a job was restarted since, or has ended."""
    job = jobs.get(before.id)
    fresh = job.progress.log[before.progress.log_lines - job.progress.log_lines :]
    return job.is_final or (job.progress.log_lines > before.progress.log_lines and "restarted after" in " ".join(fresh))


def crash_points(service: Service, calls: str, *, most: int = 200) -> tuple[int, list[float]]:
    """Kill the worker at its 1st, 2nd, … call of a kind, each time in a new job, until a job ends before.

    Answers how many points there were, and the seconds of recovery.
    """
    jobs, recovery = service.jobs(), list[float]()
    for point in range(1, most + 1):
        worker = wait_until(lambda: next(iter(service.workers()), 0), "a worker")
        wait_until(lambda: not any(not job.is_final for job in jobs.list()), "an empty queue")
        with _killing(worker, calls, point) as tracer:
            job_id = service.submit(f"{calls} {point}", settings=JOB | {"epochs": 3}, promote="never")
            wait_until(lambda: tracer.poll() is not None or jobs.get(job_id).is_final, "the kill or the end")  # noqa: B023
            if tracer.poll() is None:
                detach(tracer)
                jobs.close()
                return point - 1, recovery
        died = time.monotonic()
        wait_until(lambda: service.trainers() or jobs.get(job_id).is_final, "a training process")  # noqa: B023
        recovery.append(time.monotonic() - died)
        wait_until(lambda: jobs.get(job_id).is_final, "the job's end")  # noqa: B023
    jobs.close()
    return most, recovery


def crash_points_of_submitting(service: Service, calls: str, *, most: int = 50) -> tuple[int, list[float]]:
    """The same for the API while it takes a job; the client asks again with the same key."""
    recovery: list[float] = []
    for point in range(1, most + 1):
        wait_until(service.is_ready, "the API")
        service.submit("warm", settings=JOB | {"epochs": 3}, promote="never")
        with _killing(service.apis()[0], calls, point) as tracer:
            try:
                service.http.post(
                    "/train",
                    json={"settings": JOB | {"epochs": 3}, "promote": "never"},
                    headers={"Idempotency-Key": f"api {calls} {point}"},
                )
            except Exception:  # it was killed: the client cannot know whether the job was taken
                tracer.wait()
            if tracer.poll() is None:
                detach(tracer)
                return point - 1, recovery
        died = time.monotonic()
        service.submit(f"api {calls} {point}", settings=JOB | {"epochs": 3}, promote="never")
        recovery.append(time.monotonic() - died)
    return most, recovery


def _killing(pid: int, calls: str, point: int) -> "subprocess.Popen[str]":
    """Attach strace, which kills the process at a thread's n-th call; its children are let go."""
    command = ["strace", "-f", "-b", "execve", "-p", str(pid), "-o", "/dev/null"]
    command += ["-e", f"trace={calls},execve", "-e", f"inject={calls}:signal=KILL:when={point}"]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    assert "attached" in tracer.stderr.readline()
    return tracer


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="end the random kills after so long")
    parser.add_argument("--points", action="store_true", help="the crash points too")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "home")
        wait_until(service.is_ready, "the service")
        with Watcher(service.registry()) as watcher:
            print("| killed | kills | median s | worst s |\n|---|---|---|---|", flush=True)
            if wanted.kills:
                for kind, seconds in random_kills(service, wanted.kills, wanted.seed, wanted.minutes).items():
                    print(f"| {kind} | {len(seconds)} | {spread(seconds)} |", flush=True)
            if wanted.points:
                for calls in CALLS:
                    points, seconds = crash_points(service, calls)
                    print(f"| worker at {calls} 1 … {points} | {points} | {spread(seconds)} |", flush=True)
                for calls in ("unlink,unlinkat", "fdatasync"):
                    points, seconds = crash_points_of_submitting(service, calls)
                    print(f"| API at {calls} 1 … {points} | {points} | {spread(seconds)} |", flush=True)
        result = account(service, watcher.partial)
        service.stop()
    print(result)
    raise SystemExit(not result.is_clean)


if __name__ == "__main__":
    main()
