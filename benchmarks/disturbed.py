"""A started service that is disturbed on purpose, and the account of what it lost."""

import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from service.errors import ServiceError
from service.jobs.job import Job
from service.jobs.queue import JobQueue
from service.registry.registry import Registry
from service.registry.store import open_store
from service.settings import Settings
from tests.service.processes import children_of, trainers_of

JOB: dict[str, Any] = {"epochs": 40, "layers": [784, 32, 10], "dropout": 0.1}
"""All jobs are the same, so that the weights of all their versions must be."""

_DETACH_SECONDS = 10.0
PATIENCE_SECONDS = 120.0


def detach(tracer: "subprocess.Popen[str]") -> None:
    """Make strace let its processes go on, and wait for its end."""
    tracer.send_signal(signal.SIGINT)
    try:
        tracer.wait(_DETACH_SECONDS)
    except subprocess.TimeoutExpired:  # it waits for a thread in vfork, which waits for a child that strace holds
        tracer.kill()
        tracer.wait()


def wait_until(check: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Ask until there is a true answer, and give it."""
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.01)
    return answer


class Service:
    """`glyphserve serve` on a home of its own, started again at the same port whenever it is killed."""

    def __init__(self, home: Path, **settings: str) -> None:
        """Start it."""
        self.home = home
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._environment = {f"GLYPHSERVE_{name.upper()}": value for name, value in settings.items()}
        self._environment |= {"GLYPHSERVE_KEEP_VERSIONS": "1000000", "GLYPHSERVE_MAX_QUEUED_JOBS": "1000"}
        self._settings = settings
        self.acknowledged: list[str] = []
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        self.log = (home.parent / f"{home.name}.log").open("ab")
        self.start()

    def start(self) -> None:
        """Start the API, which starts the worker."""
        command = [sys.executable, "-P", "-m", "service", "serve", "--home", str(self.home), "--port", str(self.port)]
        environment = os.environ | self._environment
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)

    def is_ready(self) -> bool:
        """Ask /health/ready."""
        try:
            return self.http.get("/health/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def apis(self) -> list[int]:
        """Find the API process, which its parent starts again."""
        return [pid for pid, line in children_of(self.process.pid).items() if "service worker" not in line]

    def workers(self) -> list[int]:
        """Find the worker processes."""
        return [pid for pid, line in children_of(self.process.pid).items() if "service worker" in line]

    def trainers(self) -> set[int]:
        """Find the training processes."""
        return {pid for worker in self.workers() for pid in trainers_of(worker)}

    def submit(self, key: str, **body: Any) -> str:
        """Queue a job, again with the same key until it is acknowledged."""

        def ask() -> str | None:
            try:
                answer = self.http.post("/train", json=body, headers={"Idempotency-Key": key})
            except httpx.HTTPError:
                return None
            return str(answer.json()["id"]) if answer.status_code == 202 else None

        self.acknowledged.append(wait_until(ask, "an acknowledgement"))
        return self.acknowledged[-1]

    def jobs(self) -> JobQueue:
        """Open the queue beside the service."""
        return JobQueue(Settings(home=self.home, **self._settings))

    def registry(self) -> Registry:
        """Open the models beside the service."""
        return Registry(open_store(Settings(home=self.home, **self._settings).store_location))

    def stop(self) -> None:
        """End it."""
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.log.close()


@dataclass
class Account:
    """What became of the acknowledged jobs."""

    acknowledged: int
    states: Counter[str]
    lost: list[str]
    """Jobs that are not there, or did not succeed."""
    duplicated: list[str]
    """Jobs with more than one version."""
    partial: list[str]
    """Versions that could be seen and not loaded."""
    weights: int
    """Different weights among the versions; 1 when every job ended as if it had not been disturbed."""

    def __str__(self) -> str:
        """Give one line."""
        counts = f"{self.acknowledged} jobs acknowledged, {len(self.lost)} lost, {len(self.duplicated)} duplicated, "
        return counts + f"{len(self.partial)} partial versions seen, {self.weights} different weights"

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled or half."""
        return not (self.lost or self.duplicated or self.partial) and self.weights <= 1


def account(service: Service, partial: list[str], *, model: str = "mnist") -> Account:
    """Wait for the end of all jobs, and count."""
    jobs, registry = service.jobs(), service.registry()

    def ended() -> list[Job] | None:
        found = [_find(jobs, job_id) for job_id in service.acknowledged]
        return found if all(job is None or job.is_final for job in found) else None  # type: ignore[return-value]

    found = wait_until(ended, "the end of all jobs", 1800) if service.acknowledged else []
    manifests = [m for m in registry.readable_manifests(model) if m.job_id in set(service.acknowledged)]
    made = Counter(str(manifest.job_id) for manifest in manifests)
    jobs.close()
    return Account(
        acknowledged=len(set(service.acknowledged)),
        states=Counter(job.state for job in found if job),
        lost=[key for key, job in zip(service.acknowledged, found, strict=True) if not job or job.state != "succeeded"],
        duplicated=[job_id for job_id, count in made.items() if count > 1],
        partial=partial,
        weights=len({manifest.weights_sha256 for manifest in manifests}),
    )


def _find(jobs: JobQueue, job_id: str) -> Job | None:
    try:
        return jobs.get(job_id)
    except ServiceError:
        return None


@dataclass
class Watcher:
    """Loads every version as soon as it can be seen, as a replica would that follows the alias."""

    registry: Registry
    partial: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        seen: set[tuple[str, str]] = set()
        while not self._over.wait(0.02):
            keys = (key.split("/") for key in self.registry.store.list("models"))
            fresh = {(key[1], key[2]) for key in keys if len(key) == 4 and key[3] == "manifest.json"} - seen
            for name, number in fresh:
                try:
                    self.registry.load(name, int(number))
                except ServiceError as problem:
                    self.partial.append(f"{name}/{number}: {problem.detail}")
            seen |= fresh


def spread(seconds: list[float]) -> str:
    """Give median and worst."""
    return f"{statistics.median(seconds):.2f} | {max(seconds):.2f}" if seconds else "– | –"
