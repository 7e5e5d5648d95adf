"""A database that comes and goes (R8): PostgreSQL restarted every few seconds during jobs and predictions.

    python -m benchmarks.database_restarts [--restarts 20] [--seed 0]

A PostgreSQL of its own, a real service on it, jobs submitted without pause (again with the same Idempotency-Key until
they are acknowledged), predictions without pause. Restarts take turns: in good order (SIGINT, all connections cut) and
as if the plug was pulled (SIGQUIT, recovery from the log). Back is the time from when PostgreSQL answers again until
the service's job routes do.
"""

import argparse
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

from benchmarks.disturbed import JOB, Service, Watcher, account, spread, wait_until
from tests.service.postgres import Postgres, programs, running_postgres

_QUEUE = 3


class Clients:
    """Ask for predictions without pause, and count the answers."""

    def __init__(self, url: str) -> None:
        """Begin."""
        self.answers: Counter[str] = Counter()
        self.seconds: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(url,), daemon=True)
        self._thread.start()

    def _ask(self, url: str) -> None:
        pixels = [[255 if 6 < row < 22 and 12 < column < 16 else 0 for column in range(28)] for row in range(28)]
        with httpx.Client(base_url=url, timeout=10) as client:
            while not self._over.is_set():
                started = time.monotonic()
                try:
                    self.answers[str(client.post("/predict", json={"pixels": pixels}).status_code)] += 1
                except httpx.HTTPError as error:
                    self.answers[type(error).__name__] += 1
                self.seconds.append(time.monotonic() - started)

    def stop(self) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    @property
    def failed(self) -> int:
        """How many were not answered with 200."""
        return self.answers.total() - self.answers["200"]


def restarts(service: Service, postgres: Postgres, count: int, seed: int) -> list[float]:
    """Restart the database so often while jobs run; answer the seconds until the service was back."""
    rng, back = random.Random(seed), list[float]()  # noqa: S311 -- moments to restart at
    stop = threading.Event()

    def submit() -> None:
        jobs, number = service.jobs(), 0
        while not stop.is_set():
            try:
                waiting = sum(not job.is_final for job in jobs.list())
            except Exception:
                waiting = _QUEUE
            if waiting < _QUEUE:
                service.submit(f"job {number}", settings=JOB, promote="never")
                number += 1
            time.sleep(0.2)
        jobs.close()

    submitting = threading.Thread(target=submit)
    submitting.start()
    with httpx.Client(base_url=str(service.http.base_url), timeout=30) as client:
        for number in range(count):
            time.sleep(rng.uniform(1, 4))
            postgres.stop(signal.SIGQUIT if number % 2 else signal.SIGINT)
            time.sleep(rng.uniform(0, 2))
            postgres.start()
            started = time.monotonic()
            wait_until(lambda: client.get("/train").status_code == 200, "the job routes")
            back.append(time.monotonic() - started)
    stop.set()
    submitting.join()
    return back


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    bin_folder = programs()
    if bin_folder is None:
        raise SystemExit("PostgreSQL is not installed")
    with running_postgres(bin_folder) as postgres, tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "home", database_url=postgres.url)
        wait_until(service.is_ready, "the service")
        wait_until(lambda: service.http.get("/train").status_code == 200, "the job routes")
        clients = Clients(str(service.http.base_url))
        with Watcher(service.registry()) as watcher:
            back = restarts(service, postgres, wanted.restarts, wanted.seed)
            result = account(service, watcher.partial)
        clients.stop()
        service.stop()
    print("| restarts | predictions | failed | back: median s | worst s |\n|---|---|---|---|---|")
    print(f"| {wanted.restarts} | {clients.answers.total():,} | {clients.failed} | {spread(back)} |")
    print(result)
    raise SystemExit(not result.is_clean or clients.failed > 0)


if __name__ == "__main__":
    main()
