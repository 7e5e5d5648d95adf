"""The process that runs training jobs: a queue's worker, durable through DBOS, one job at a time.

A job is a workflow of two steps, each of which may be repeated without harm: `learn` trains in a child process and
publishes the version under the job's id; `conclude` lets the version take over if it deserves to.
"""

import fcntl
import logging
import os
import shutil
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

from dbos import DBOS, DBOSConfig

from service.errors import ServiceError, Unavailable
from service.gate import judge
from service.job import JobRequest, Progress
from service.jobs import APPLICATION_VERSION, MAX_RECOVERIES, QUEUE, WORKFLOW, Jobs, json_serializer
from service.registry import Registry
from service.settings import Settings
from service.store import open_store
from service.trainer import Event, TrainingFailedError, train_and_publish
from service.upkeep import Upkeep

log = logging.getLogger(__name__)

MAX_WORKERS = 64
_POLL_SECONDS = 0.25
_SIGNS_OF_LIFE = 6  # within the time after which a worker is taken for gone


def run_worker(settings: Settings, *, stop_when_stdin_closes: bool = False) -> NoReturn:
    """Run jobs until SIGTERM or SIGINT; the job that is cut off then goes back to the queue.

    A job whose worker is killed goes on when a worker of the same id starts, or another takes it for gone.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if stop_when_stdin_closes:
        threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    settings.home.mkdir(parents=True, exist_ok=True)
    executor_id, lock = _claim_id(settings.home / "workers", settings.worker_prefix)
    scratch = settings.home / "scratch" / executor_id
    shutil.rmtree(scratch, ignore_errors=True)  # of a worker of this id that was killed
    jobs = Jobs(settings)
    _launch(settings, Registry(open_store(settings.store_location)), jobs, executor_id, scratch)
    # Recovery is DBOS's own, marked internal: its public `resume` would forget how often the job was begun already.
    upkeep = Upkeep(jobs, executor_id, settings, DBOS._recover_pending_workflows)
    log.info("worker %s is ready", executor_id)
    while not stop.wait(settings.takeover_seconds / _SIGNS_OF_LIFE):
        upkeep.tick()
    _leave(jobs, executor_id, lock)


def _leave(jobs: Jobs, executor_id: str, lock: IO[str]) -> NoReturn:
    """Take no more jobs, give back the one at work, and be gone with its child.

    Not by returning: the interpreter would wait for the job's thread, which waits for its training to end. The child
    ends when its standard input closes with this process; only then is the lock free for the next worker of this id.
    """
    logging.getLogger("dbos").setLevel(logging.CRITICAL)  # of the job's thread, should it end just now
    DBOS.destroy(workflow_completion_timeout_sec=0)
    try:
        jobs.hand_back(executor_id)
    except Unavailable:
        log.warning("the jobs database does not answer; the job at work waits for worker %s", executor_id)
    log.info("worker %s ends and lets go of %s", executor_id, lock.name)
    logging.shutdown()
    os._exit(0)


def _launch(settings: Settings, registry: Registry, jobs: Jobs, executor_id: str, scratch: Path) -> None:
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
    train_here = partial(train_and_publish, registry, scratch=scratch, threads=settings.train_threads)

    @DBOS.step(name="learn")
    def learn(given: dict[str, Any]) -> dict[str, Any]:
        job_id, request = str(DBOS.workflow_id), JobRequest(**given)
        reporter = _Reporter(jobs, job_id)
        try:
            version = train_here(request, job_id, on_event=reporter.hear, should_stop=reporter.tell)
        except (TrainingFailedError, ServiceError) as error:
            return {"state": "failed", "detail": str(error)}
        return {"version": version}

    @DBOS.step(name="conclude")
    def conclude(given: dict[str, Any], version: int) -> dict[str, Any]:
        request = JobRequest(**given)
        verdict = judge(registry, settings.alias, request, version)
        outcome = {"version": version, "promoted": verdict.promoted, "detail": verdict.reason}
        return outcome | {"state": verdict.state(request)}

    @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=MAX_RECOVERIES)
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
    """Keeps the job's record up to date with what the child says.

    Two threads use it: `hear` only remembers, so that a slow database never holds up training; `tell` writes.
    """

    def __init__(self, jobs: Jobs, job_id: str) -> None:
        self._jobs, self._job_id = jobs, job_id
        self._progress = self._told = Progress()

    def hear(self, event: Event) -> None:
        """Take in an event of the child."""
        if event["event"] == "start":
            self._progress = Progress(epochs=event["epochs"])
        elif event["event"] == "epoch":
            self._progress = self._progress.after(event)

    def tell(self) -> bool:
        """Write what is new, and answer whether the job was cancelled; False while the database does not answer."""
        try:
            if (progress := self._progress) is not self._told:
                self._jobs.report(self._job_id, progress)
                self._told = progress
            return self._jobs.is_cancelled(self._job_id)
        except Unavailable:
            return False


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
