"""Failing disks (R7): ENOSPC and EIO at every write, and a disk that is really full.

    python -m benchmarks.faults [--most 12] [--rounds 5] [--calls fsync --calls mkdir,mkdirat …]

By strace, the n-th call of a kind that a thread of the worker makes fails, for n = 1, 2, 3, 4, 6, 8, 12, …, while a job
runs and predictions go on: calls that write the database (pwrite64, fdatasync, ftruncate) and those that write the
store (fsync, link, rename, mkdir). Then a file system of its own in memory (needs root) is filled to the last byte
while jobs run, and emptied again; back is the time from then until a new job is taken and a training process runs.
"""

import argparse
import contextlib
import os
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.database_restarts import Clients
from benchmarks.disturbed import JOB, Service, Watcher, account, detach, spread, wait_until

CALLS = ("pwrite64", "fdatasync", "ftruncate", "fsync", "link,linkat", "rename,renameat,renameat2", "mkdir,mkdirat")
POINTS = (1, 2, 3, 4, 6, 8, 12, 16, 24)


@dataclass
class Found:
    """What a series of faults did."""

    injected: int = 0
    failed_predictions: int = 0
    seconds: list[float] = field(default_factory=list)
    """From the fault's end to the job's."""


def fault_points(service: Service, calls: str, error: str, points: Sequence[int]) -> Found:
    """Let the worker's calls fail, each point in a new job; wait until each job has ended."""
    found, jobs = Found(), service.jobs()
    clients = Clients(str(service.http.base_url))
    for point in points:
        worker = wait_until(lambda: next(iter(service.workers()), 0), "a worker")
        with tempfile.NamedTemporaryFile("r") as log:
            command = ["strace", "-f", "-b", "execve", "-p", str(worker), "-o", log.name]
            command += ["-e", f"trace={calls},execve", "-e", f"inject={calls}:error={error}:when={point}"]
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
                assert tracer.stderr is not None
                assert "attached" in tracer.stderr.readline()
                key = f"{calls} {error} {point}"
                job_id = service.submit(key, settings=JOB | {"epochs": 5}, promote="never")
                with contextlib.suppress(TimeoutError):
                    wait_until(lambda: "INJECTED" in log.read() or jobs.get(job_id).is_final, "a fault", 30)  # noqa: B023
                time.sleep(0.5)
                detach(tracer)
            log.seek(0)
            found.injected += log.read().count("(INJECTED)")
        started = time.monotonic()
        wait_until(lambda: jobs.get(job_id).is_final, "the job's end")  # noqa: B023
        found.seconds.append(time.monotonic() - started)
    clients.stop()
    found.failed_predictions = clients.failed
    jobs.close()
    return found


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Write a file until there is no room left."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(os.urandom(size))
    return filler


def full_disk(service: Service, disk: Path, rounds: int) -> Found:
    """Fill the disk while jobs run, wait, and make room again."""
    found = Found()
    clients = Clients(str(service.http.base_url))
    for number in range(rounds):
        service.submit(f"before {number}", settings=JOB, promote="never")
        wait_until(service.trainers, "a training process")
        time.sleep(0.3 * number)
        filler = fill(disk)
        found.injected += 1
        time.sleep(4)
        filler.unlink()
        started = time.monotonic()
        service.submit(f"after {number}", settings=JOB, promote="never")
        wait_until(service.trainers, "a training process")
        found.seconds.append(time.monotonic() - started)
    clients.stop()
    found.failed_predictions = clients.failed
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5, help="times that the disk is filled")
    parser.add_argument("--calls", action="append", choices=CALLS, help="these kinds alone, so that a run is short")
    wanted = parser.parse_args()
    points, clean = [point for point in POINTS if point <= wanted.most], True
    print("| fault | injected | failed predictions | back: median s | worst s |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        with small_disk(Path(folder) / "disk", 64) as disk:
            service = Service(disk / "home", min_free_bytes="0")
            wait_until(service.is_ready, "the service")
            with Watcher(service.registry()) as watcher:
                found = full_disk(service, disk, wanted.rounds)
                result = account(service, watcher.partial)
            service.stop()
            clean &= _print("a full disk", found) and result.is_clean and _is_whole(disk / "home" / "jobs.sqlite")
            print(result, flush=True)
        service = Service(Path(folder) / "home", min_free_bytes="0")
        wait_until(service.is_ready, "the service")
        with Watcher(service.registry()) as watcher:
            for calls in wanted.calls or CALLS:
                for error in ("ENOSPC", "EIO"):
                    clean &= _print(f"{error} at {calls}", fault_points(service, calls, error, points))
            result = account(service, watcher.partial)
        service.stop()
        clean &= result.is_clean and _is_whole(Path(folder) / "home" / "jobs.sqlite")
    print(result)
    raise SystemExit(not clean)


def _print(fault: str, found: Found) -> bool:
    print(f"| {fault} | {found.injected} | {found.failed_predictions} | {spread(found.seconds)} |", flush=True)
    return found.failed_predictions == 0


def _is_whole(database: Path) -> bool:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok")


if __name__ == "__main__":
    main()
