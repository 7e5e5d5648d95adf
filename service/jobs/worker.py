"""The worker process: runs training jobs from the queue one at a time, durably through DBOS.

A job is a workflow of two idempotent steps: `learn` trains in a child process and publishes the version for the job;
`conclude` promotes the version if it passes the gate.
"""

import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, NoReturn

from dbos import DBOS, DBOSConfig
from dbos import error as errors
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from service.errors import ServiceError, Unavailable
from service.jobs.checkpoints import Checkpoints
from service.jobs.database import add_missing_sqlite_functions
from service.jobs.dbos_mapping import json_serializer
from service.jobs.dequeuing import open_wakeup, start_dequeuing, stop_polling
from service.jobs.events import ProgressReporter
from service.jobs.job import MAX_CRASHES, JobRequest
from service.jobs.maintenance import QueueMaintenance, renice_all_threads
from service.jobs.queue import APPLICATION_VERSION, SEARCH_QUEUE, TRAINING_QUEUE, WORKFLOW, JobQueue
from service.jobs.runner import (
    TrainingContext,
    crash_limit_message,
    promote_version,
    retry_until_available,
    train_and_publish,
    training_context,
)
from service.jobs.search import run_trial, search_and_publish
from service.jobs.trainer_process import TRAINING_NICENESS, TrainingFailedError, TrainingHooks
from service.observability.telemetry import Telemetry, open_telemetry
from service.observability.tracing import bound_log_context
from service.registry.retention import try_prune
from service.registry.store import open_store
from service.settings import Settings
from service.signals import shutdown_waiter
from training.errors import ConfigError
from training.stored import restored

log = logging.getLogger(__name__)

MAX_WORKERS = 64
_MAX_CONCURRENT_SEARCHES = 16
_MIN_RETRY_SECONDS, _MAX_RETRY_SECONDS = 0.5, 15.0  # while the database is unavailable at start-up
_MAX_RECOVERY_ATTEMPTS = 100  # a limit of DBOS that is not reached: crashes are counted here


def run_worker(
    settings: Settings, *, stop_when_stdin_closes: bool = False, on_ready: Callable[[], object] = bool
) -> NoReturn:
    """Run jobs until SIGTERM or SIGINT; a job that is interrupted then returns to the queue.

    A job whose worker is killed continues when a worker with the same ID starts, or when another takes it over.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    number, lock = _acquire_worker_id(settings.home / "workers")
    executor_id = f"{settings.worker_prefix}-{number}"
    wakeup = open_wakeup(settings.home / "workers", number)
    wait_for_shutdown = shutdown_waiter(at_end_of_input=stop_when_stdin_closes, woken_by=wakeup)
    scratch = settings.home / "scratch" / executor_id
    shutil.rmtree(scratch, ignore_errors=True)  # left by a killed worker with this ID
    context, jobs = training_context(settings, open_store(settings.store_location), scratch), JobQueue(settings)
    active_jobs: set[str] = set()
    failed_jobs: set[str] = set()
    _recover(jobs, executor_id, wait_for_shutdown)
    dequeue = _launch(settings, context, jobs, executor_id, active_jobs, failed_jobs)
    maintenance = QueueMaintenance(jobs, context.checkpoints, executor_id, settings, active_jobs, failed_jobs, dequeue)
    renice_all_threads(TRAINING_NICENESS)  # after start-up, which should be quick
    log.info("worker %s is ready", executor_id)
    on_ready()
    while wait_for_shutdown(maintenance.tick()) is None:
        pass
    _exit_now(jobs, executor_id, lock)


def _recover(jobs: JobQueue, executor_id: str, wait: Callable[[float | None], int | None]) -> None:
    """Requeue the jobs that this worker ID left behind, as soon as the database is available."""
    pause = _MIN_RETRY_SECONDS
    while True:
        try:
            return jobs.recover(executor_id)
        except Unavailable:  # logged by the database
            if wait(pause) is not None:
                raise SystemExit(0) from None
            pause = min(2 * pause, _MAX_RETRY_SECONDS)


def _exit_now(jobs: JobQueue, executor_id: str, lock: IO[str]) -> NoReturn:
    """Stop polling, requeue the current job, and exit together with the child process.

    Returning instead would make the interpreter wait for the job's thread, which waits for its training. The child
    exits when its standard input closes with this process; only then is the lock free for the next worker of this ID.
    """
    logging.getLogger("dbos").setLevel(logging.CRITICAL)  # the job's thread may fail now
    DBOS.destroy(workflow_completion_timeout_sec=0)
    try:
        jobs.release(executor_id)
    except Unavailable:
        log.warning("the jobs database is not available; the current job waits for worker %s", executor_id)
    log.info("worker %s exits and releases %s", executor_id, lock.name)
    logging.shutdown()
    os._exit(0)


def _launch(
    settings: Settings,
    context: TrainingContext,
    jobs: JobQueue,
    executor_id: str,
    active_jobs: set[str],
    failed_jobs: set[str],
) -> Callable[[], None]:
    """Register the workflow; return a function that dequeues jobs up to this worker's concurrency."""
    config: DBOSConfig = {
        "name": "glyphserve",
        "system_database_url": settings.database_location,
        "application_version": APPLICATION_VERSION,
        "executor_id": executor_id,
        "log_level": "ERROR",  # it logs several warnings per second while the database is unavailable, as we do
        "serializer": json_serializer(),
    }
    add_missing_sqlite_functions()
    dbos = DBOS(config=config)
    telemetry = open_telemetry()

    @DBOS.step(name="learn")
    def train(arguments: dict[str, Any]) -> dict[str, Any]:
        with _job_context("learn", telemetry):
            return _train(context, jobs, str(DBOS.workflow_id), arguments)

    @DBOS.step(name="conclude")
    def promote(arguments: dict[str, Any], version: int) -> dict[str, Any]:
        with _job_context("conclude", telemetry):
            request = restored(JobRequest, arguments, "the job")
            return _promote(settings, context, jobs, str(DBOS.workflow_id), request, version)

    @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=_MAX_RECOVERY_ATTEMPTS)
    def run_job(arguments: dict[str, Any]) -> dict[str, Any]:
        job_id = str(DBOS.workflow_id)
        active_jobs.add(job_id)
        try:
            result = train(arguments)
            outcome = promote(arguments, result["version"]) if "version" in result else result
            _delete_checkpoint(context.checkpoints, job_id)
            _log_failure(job_id, outcome)
            return outcome
        except (SQLAlchemyError, OSError) as error:
            # A full disk, for example. Raising it would fail the job: record nothing, and let maintenance requeue it.
            log.warning("job %s is interrupted: %s", job_id, type(error).__name__)
            if not isinstance(error, OperationalError | InterfaceError):  # those are errors of the database
                failed_jobs.add(job_id)
            raise errors.DBOSWorkflowCancelledError("interrupted") from error
        finally:
            active_jobs.discard(job_id)

    DBOS.launch()
    stop_polling(dbos)
    queues = [
        DBOS.register_queue(name, worker_concurrency=concurrency, on_conflict="always_update")
        for name, concurrency in ((TRAINING_QUEUE, 1), (SEARCH_QUEUE, _MAX_CONCURRENT_SEARCHES))
    ]
    return start_dequeuing(dbos, queues)


@contextmanager
def _job_context(step: str, telemetry: Telemetry | None) -> Iterator[None]:
    """Add the job to the log records and spans of the block."""
    job_id = str(DBOS.workflow_id)
    with bound_log_context(job=job_id), telemetry.job(step, job_id) if telemetry else nullcontext():
        yield


def _train(context: TrainingContext, jobs: JobQueue, job_id: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Train and publish unless the job has crashed too often; return the version, or the outcome of a failed job."""
    try:
        request = restored(JobRequest, arguments, "the job")
        job = retry_until_available(lambda: jobs.get(job_id))
        log.info("attempt %d started", job.attempts)
        reporter = ProgressReporter(jobs, job, str(DBOS.executor_id))
        hooks = TrainingHooks(reporter.on_event, reporter.flush)
        if request.trials:
            return {"version": search_and_publish(context, jobs, job, hooks)}
        if job.crashes >= MAX_CRASHES:
            return {"state": "failed", "detail": crash_limit_message("its worker died")}
        if request.trial_of:
            return {"state": "succeeded", "figures": run_trial(context, jobs, job, hooks)}
        return {"version": train_and_publish(context, request, job_id, hooks, crashes=job.crashes)}
    except (TrainingFailedError, ServiceError, ConfigError) as error:
        # Name files relative to the data sets, not by their paths on this host.
        return {"state": "failed", "detail": str(error).replace(f"{context.inputs.datasets_dir}/", "")}


def _promote(
    settings: Settings, context: TrainingContext, jobs: JobQueue, job_id: str, request: JobRequest, version: int
) -> dict[str, Any]:
    """Promote the version if it passes the gate; return the outcome of the job."""
    if retry_until_available(lambda: jobs.is_cancelled(job_id)):
        return {"state": "failed", "detail": "cancelled", "version": version}
    decision = retry_until_available(lambda: promote_version(settings, context, request, job_id, version))
    try_prune(context.registry, request.model, settings.keep_versions)
    log.info("trained version %d: %s", version, decision.reason or "promotion was not requested")
    outcome = {"version": version, "promoted": decision.promoted, "detail": decision.reason}
    return outcome | {"state": decision.state(request)}


def _log_failure(job_id: str, outcome: dict[str, Any]) -> None:
    if outcome["state"] == "failed" and outcome["detail"] != "cancelled":
        log.error("job %s failed: %s", job_id, outcome["detail"])


def _delete_checkpoint(checkpoints: Checkpoints, job_id: str) -> None:
    try:
        checkpoints.delete(job_id)
    except ServiceError as error:
        log.warning("cannot delete the checkpoint of %s: %s", job_id, error.detail)


def _acquire_worker_id(folder: Path) -> tuple[int, IO[str]]:
    """Lock the first number that no live process holds: two executors with one ID would run a job twice at once."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(MAX_WORKERS):
        lock = (folder / f"{number}.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        return number, lock
    raise SystemExit(f"{MAX_WORKERS} workers run on this host already")
