"""The process that runs training jobs: a queue's worker, durable through DBOS, one job at a time.

A job is a workflow of two steps, each of which may be repeated without harm: `learn` trains in a child process and
publishes the version under the job's id; `conclude` lets the version take over if it deserves to.
"""

import fcntl
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import IO, Any

from dbos import DBOS, DBOSConfig

from service.errors import ServiceError
from service.gate import judge
from service.jobs import APPLICATION_VERSION, MAX_ATTEMPTS, QUEUE, WORKFLOW, JobRequest, Jobs, Progress, json_serializer
from service.registry import Registry
from service.settings import Settings
from service.store import open_store
from service.trainer import Event, TrainingFailedError, train_and_publish

log = logging.getLogger(__name__)

MAX_WORKERS = 64
_POLL_SECONDS = 0.25


def run_worker(settings: Settings, *, stop_when_stdin_closes: bool = False) -> None:
    """Run jobs until SIGTERM or SIGINT. A job that is cut off goes on when a worker of the same id starts."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if stop_when_stdin_closes:
        threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    settings.home.mkdir(parents=True, exist_ok=True)
    executor_id, lock = _claim_id(settings.home / "workers", settings.worker_name)
    jobs = Jobs(settings)
    try:
        _launch(settings, Registry(open_store(settings.store_location)), jobs, executor_id)
        log.info("worker %s is ready", executor_id)
        stop.wait()
    finally:
        DBOS.destroy(workflow_completion_timeout_sec=0)
        jobs.close()
        lock.close()


def _launch(settings: Settings, registry: Registry, jobs: Jobs, executor_id: str) -> None:
    """Register the workflow and start taking jobs; jobs that this id left behind go on first."""
    config: DBOSConfig = {
        "name": "glyphserve",
        "system_database_url": settings.database_location,
        "application_version": APPLICATION_VERSION,
        "executor_id": executor_id,
        "log_level": "WARNING",
        "serializer": json_serializer(),
    }
    DBOS(config=config)

    @DBOS.step(name="learn")
    def learn(given: dict[str, Any]) -> dict[str, Any]:
        job_id, request = str(DBOS.workflow_id), JobRequest(**given)
        reporter = _Reporter(jobs, job_id)
        try:
            version = train_and_publish(registry, settings, request, job_id, reporter.hear, reporter.is_cancelled)
        except (TrainingFailedError, ServiceError) as error:
            return {"state": "failed", "detail": str(error)}
        return {"version": version}

    @DBOS.step(name="conclude")
    def conclude(given: dict[str, Any], version: int) -> dict[str, Any]:
        request = JobRequest(**given)
        verdict = judge(registry, settings.alias, request, version)
        outcome = {"version": version, "promoted": verdict.promoted, "detail": verdict.reason}
        return outcome | {"state": verdict.state(request)}

    @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=MAX_ATTEMPTS)
    def train(given: dict[str, Any]) -> dict[str, Any]:
        learned = learn(given)
        return conclude(given, learned["version"]) if "version" in learned else learned

    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=1, polling_interval_sec=_POLL_SECONDS, on_conflict="always_update")


def _stop_at_end_of_input(stop: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop.set()


class _Reporter:
    """Writes what the child says into the job's record."""

    def __init__(self, jobs: Jobs, job_id: str) -> None:
        self._jobs, self._job_id = jobs, job_id
        self._progress = Progress()

    def hear(self, event: Event) -> None:
        if event["event"] == "start":
            self._progress = Progress(epochs=event["epochs"])
        elif event["event"] == "epoch":
            self._progress = Progress(self._progress.epochs, [*self._progress.history, event])
        else:
            return
        self._jobs.report(self._job_id, self._progress)

    def is_cancelled(self) -> bool:
        return self._jobs.get(self._job_id).state == "cancelled"


def _claim_id(folder: Path, name: str) -> tuple[str, IO[str]]:
    """Take the first id that no live process holds: two executors of one id would run a job twice at once."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(MAX_WORKERS):
        lock = (folder / f"{number}.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        return f"{name}-{number}", lock
    raise SystemExit(f"{MAX_WORKERS} workers run on this host already")
