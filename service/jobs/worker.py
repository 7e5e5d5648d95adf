"""The process that runs training jobs: a queue's worker, durable through DBOS, one job at a time.

A job is a workflow of two steps, each of which may be repeated without harm: `learn` trains in a child process and
publishes the version under the job's id; `conclude` lets the version take over if it deserves to.
"""

import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

from dbos import DBOS, DBOSConfig
from dbos import error as errors
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from service.ending import listen_for_the_end
from service.errors import ServiceError, Unavailable
from service.jobs.checkpoints import Checkpoints
from service.jobs.dbos_mapping import json_serializer
from service.jobs.dequeuing import start_dequeuing, stop_polling
from service.jobs.events import ProgressReporter
from service.jobs.gate import GatePolicy, decide_promotion
from service.jobs.inputs import JobInputs
from service.jobs.job import MAX_CRASHES, JobRequest
from service.jobs.queue import APPLICATION_VERSION, SEARCH_QUEUE, TRAINING_QUEUE, WORKFLOW, JobQueue
from service.jobs.runner import TrainingContext, crash_limit_message, retry_until_available, train_and_publish
from service.jobs.search import run_trial, search_and_publish
from service.jobs.trainer_process import TRAINING_NICENESS, TrainingFailedError, TrainingHooks
from service.jobs.upkeep import Upkeep, renice_all_threads
from service.jobs.wakeup import open_wakeup
from service.observability.telemetry import Telemetry, open_telemetry
from service.observability.tracing import work
from service.registry.registry import Registry
from service.registry.retention import try_prune
from service.registry.store import open_store
from service.samples.store import open_samples
from service.settings import Settings
from training.errors import ConfigError
from training.stored import restored

log = logging.getLogger(__name__)

MAX_WORKERS = 64
_SEARCHES_AT_ONCE = 16
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0  # until a database that does not answer is asked again
_MOST_BEGINNINGS = 100  # a backstop of DBOS's; the strikes are counted here


def run_worker(
    settings: Settings, *, stop_when_stdin_closes: bool = False, on_ready: Callable[[], object] = bool
) -> NoReturn:
    """Run jobs until SIGTERM or SIGINT; the job that is cut off then goes back to the queue.

    A job whose worker is killed goes on when a worker of the same id starts, or another takes it for gone.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    number, lock = _acquire_worker_number(settings.home / "workers")
    executor_id = f"{settings.worker_prefix}-{number}"
    wakeup = open_wakeup(settings.home / "workers", number)
    wait_for_the_end = listen_for_the_end(at_end_of_input=stop_when_stdin_closes, woken_by=wakeup)
    scratch = settings.home / "scratch" / executor_id
    shutil.rmtree(scratch, ignore_errors=True)  # of a worker of this id that was killed
    store, jobs = open_store(settings.store_location), JobQueue(settings)
    registry = Registry(store)
    inputs = JobInputs(store, open_samples(store, settings), registry, settings.datasets_dir)
    context = TrainingContext(registry, Checkpoints(store), inputs, scratch, settings.train_threads)
    active_jobs: set[str] = set()
    _recover(jobs, executor_id, wait_for_the_end)
    take_jobs = _launch(settings, context, jobs, executor_id, active_jobs)
    upkeep = Upkeep(jobs, context.checkpoints, executor_id, settings, active_jobs.__contains__, take_jobs)
    renice_all_threads(TRAINING_NICENESS)  # after the start, which somebody may wait for
    log.info("worker %s is ready", executor_id)
    on_ready()
    while wait_for_the_end(upkeep.tick()) is None:
        pass
    _exit_now(jobs, executor_id, lock)


def _recover(jobs: JobQueue, executor_id: str, wait: Callable[[float | None], int | None]) -> None:
    """Queue again what this id left behind, as soon as the database answers."""
    pause = _FIRST_PAUSE
    while True:
        try:
            return jobs.recover(executor_id)
        except Unavailable:  # it is in the log
            if wait(pause) is not None:
                raise SystemExit(0) from None
            pause = min(2 * pause, _LONGEST_PAUSE)


def _exit_now(jobs: JobQueue, executor_id: str, lock: IO[str]) -> NoReturn:
    """Take no more jobs, give back the one at work, and be gone with its child.

    Not by returning: the interpreter would wait for the job's thread, which waits for its training to end. The child
    ends when its standard input closes with this process; only then is the lock free for the next worker of this id.
    """
    logging.getLogger("dbos").setLevel(logging.CRITICAL)  # of the job's thread, should it end just now
    DBOS.destroy(workflow_completion_timeout_sec=0)
    try:
        jobs.release(executor_id)
    except Unavailable:
        log.warning("the jobs database does not answer; the job at work waits for worker %s", executor_id)
    log.info("worker %s ends and lets go of %s", executor_id, lock.name)
    logging.shutdown()
    os._exit(0)


def _launch(
    settings: Settings, context: TrainingContext, jobs: JobQueue, executor_id: str, active_jobs: set[str]
) -> Callable[[], None]:
    """Register the workflow; give the function that lets this worker take jobs that wait, if it can do more."""
    config: DBOSConfig = {
        "name": "glyphserve",
        "system_database_url": settings.database_location,
        "application_version": APPLICATION_VERSION,
        "executor_id": executor_id,
        "log_level": "ERROR",  # it warns several times a second while the database is away, which we tell ourselves
        "serializer": json_serializer(),
    }
    dbos = DBOS(config=config)
    telemetry = open_telemetry()

    @DBOS.step(name="learn")
    def learn(given: dict[str, Any]) -> dict[str, Any]:
        with _work("learn", telemetry):
            return _train(context, jobs, str(DBOS.workflow_id), given)

    @DBOS.step(name="conclude")
    def conclude(given: dict[str, Any], version: int) -> dict[str, Any]:
        with _work("conclude", telemetry):
            return _promote(
                settings, context, jobs, str(DBOS.workflow_id), restored(JobRequest, given, "the job"), version
            )

    @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=_MOST_BEGINNINGS)
    def train(given: dict[str, Any]) -> dict[str, Any]:
        job_id = str(DBOS.workflow_id)
        active_jobs.add(job_id)
        try:
            learned = learn(given)
            outcome = conclude(given, learned["version"]) if "version" in learned else learned
            _forget(context.checkpoints, job_id)
            _log_failure(job_id, outcome)
            return outcome
        except (SQLAlchemyError, OSError) as error:
            # A full disk, say. Raised on, it would be the job's end: so nothing is recorded, and upkeep queues it.
            log.warning("job %s is left for now: %s", job_id, type(error).__name__)
            if not isinstance(error, OperationalError | InterfaceError):  # those are the database's, not the job's
                failed.add(job_id)
            raise errors.DBOSWorkflowCancelledError("left for now") from error
        finally:
            active_jobs.discard(job_id)

    DBOS.launch()
    stop_polling(dbos)
    queues = [
        DBOS.register_queue(name, worker_concurrency=at_once, on_conflict="always_update")
        for name, at_once in ((TRAINING_QUEUE, 1), (SEARCH_QUEUE, _SEARCHES_AT_ONCE))
    ]
    return start_dequeuing(dbos, queues)


@contextmanager
def _work(step: str, telemetry: Telemetry | None) -> Iterator[None]:
    """Let what is done belong to the job, in the log and in its spans."""
    job_id = str(DBOS.workflow_id)
    with work(job=job_id), telemetry.job(step, job_id) if telemetry else nullcontext():
        yield


def _train(context: TrainingContext, jobs: JobQueue, job_id: str, given: dict[str, Any]) -> dict[str, Any]:
    """Train and publish, unless the job has had its strikes; answer the version, or the outcome of a failed job."""
    try:
        request = restored(JobRequest, given, "the job")
        job = retry_until_available(lambda: jobs.get(job_id))
        log.info("attempt %d begins", job.attempts)
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
        # The file at fault is named as in the data set, not as on this host.
        return {"state": "failed", "detail": str(error).replace(f"{context.inputs.datasets_dir}/", "")}


def _promote(
    settings: Settings, context: TrainingContext, jobs: JobQueue, job_id: str, request: JobRequest, version: int
) -> dict[str, Any]:
    """Let the version take over if it deserves to; answer the job's outcome."""
    if retry_until_available(lambda: jobs.is_cancelled(job_id)):
        return {"state": "failed", "detail": "cancelled", "version": version}
    samples = partial(context.inputs.holdout_samples, request, job_id, version)
    rules = GatePolicy(samples, settings.max_predict_ms, settings.datasets_dir)
    verdict = retry_until_available(lambda: decide_promotion(context.registry, settings.alias, request, version, rules))
    try_prune(context.registry, request.model, settings.keep_versions)
    log.info("version %d is trained: %s", version, verdict.reason or "it was not to be promoted")
    outcome = {"version": version, "promoted": verdict.promoted, "detail": verdict.reason}
    return outcome | {"state": verdict.state(request)}


def _log_failure(job_id: str, outcome: dict[str, Any]) -> None:
    if outcome["state"] == "failed" and outcome["detail"] != "cancelled":
        log.error("job %s failed: %s", job_id, outcome["detail"])


def _forget(checkpoints: Checkpoints, job_id: str) -> None:
    try:
        checkpoints.delete(job_id)
    except ServiceError as error:
        log.warning("the checkpoint of %s stays for now: %s", job_id, error.detail)


def _acquire_worker_number(folder: Path) -> tuple[int, IO[str]]:
    """Take the first number that no live process holds: two executors of one id would run a job twice at once."""
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
