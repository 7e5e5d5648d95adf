"""What a service costs that nobody asks for anything, and how soon a job is begun that wakes it.

    python -m benchmarks.idle [--seconds 60] [--rounds 5]

The share is the CPU time of all processes of `glyphserve serve`, by /proc, of one core: 0.5 % at most is wanted. The
time is from the moment in which `POST /train` is sent until the job is seen to be begun, asked for every 10 ms: 0.5 s
at most.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.disturbed import Service, wait_until
from tests.service.processes import children_of

_SETTLE_SECONDS = 10.0
QUICK = {"epochs": 1, "layers": [784, 8, 10]}


def cpu_seconds(pid: int) -> float:
    """Give the CPU time that a process has used so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle_shares(service: Service, seconds: float) -> dict[str, float]:
    """Give each process's share of a core over so many seconds in which nothing is asked for."""
    children = children_of(service.process.pid).items()
    pids = {"parent": service.process.pid}
    pids |= {f"{'worker' if 'worker' in line else 'API'} {pid}": pid for pid, line in children}
    before, began = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return {name: (cpu_seconds(pid) - before[name]) / took for name, pid in pids.items()}


def begun_after(service: Service, number: int) -> float:
    """Queue a job while nothing is at work; give the seconds until a worker has taken it."""
    asked = time.monotonic()
    job = service.submit(f"idle {number}", settings=QUICK, promote="never")
    wait_until(lambda: service.http.get(f"/train/{job}").json()["state"] != "queued", "its start")
    begun = time.monotonic() - asked
    wait_until(lambda: service.http.get(f"/train/{job}").json()["finished"], "its end")
    time.sleep(_SETTLE_SECONDS)  # until the worker is idle again
    return begun


def main() -> None:
    """Measure both, before a job was ever run and after some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder, "home"))
        try:
            wait_until(lambda: service.is_ready() and service.workers(), "the service")
            begun_after(service, -1)  # the first one opens the database
            time.sleep(_SETTLE_SECONDS)
            shares = idle_shares(service, given.seconds)
            begun = [begun_after(service, number) for number in range(given.rounds)]
        finally:
            service.stop()
    for name, share in shares.items():
        print(f"{name:>14}: {share:6.2%} of a core")
    print(f"{'together':>14}: {sum(shares.values()):6.2%} of a core (goal 0.5 %)")
    print(f"a job was begun after {statistics.median(begun):.2f} s, {max(begun):.2f} at worst (goal 0.5)")
    sys.exit(sum(shares.values()) > 0.005 or max(begun) > 0.5)


if __name__ == "__main__":
    main()
