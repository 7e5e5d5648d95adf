"""Training from a request to a published version, with retries after crashes, full disks and store outages."""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from service.errors import Unavailable
from service.jobs.checkpoints import Checkpoints
from service.jobs.gate import GateDecision, GatePolicy, decide_promotion
from service.jobs.inputs import JobInputs
from service.jobs.job import MAX_CRASHES, JobRequest
from service.jobs.trainer_process import (
    CHECKPOINT,
    BadCheckpointError,
    Event,
    TrainerCrashedError,
    TrainerDiskFullError,
    TrainingCancelledError,
    TrainingFailedError,
    TrainingHooks,
    run_training,
)
from service.registry.registry import Registry
from service.registry.store import Store
from service.samples.store import open_samples
from service.settings import Settings

T = TypeVar("T")

_RETRY_LIMIT_SECONDS = 600.0
_RETRY_INTERVAL_SECONDS = 1.0


@dataclass(frozen=True)
class TrainingContext:
    """What a training needs from its host."""

    registry: Registry
    checkpoints: Checkpoints
    inputs: JobInputs
    scratch: Path
    """The folder for temporary files; its content may be deleted while no job runs."""
    threads: int


def training_context(settings: Settings, store: Store, scratch: Path) -> TrainingContext:
    """Return the context of the settings, for a worker or a command."""
    registry = Registry(store)
    inputs = JobInputs(store, open_samples(store, settings), registry, settings.datasets_dir)
    return TrainingContext(registry, Checkpoints(store), inputs, scratch, settings.train_threads)


def train_and_publish(
    context: TrainingContext, request: JobRequest, job_id: str, hooks: TrainingHooks, *, crashes: int = 0
) -> int:
    """Train and publish the result for the job; return the version.

    Raises what `train_with_restarts` and `Registry.publish` raise.
    """
    details, weights = train_with_restarts(context, request, job_id, hooks, crashes=crashes)
    publish = context.registry.publish
    return retry_until_available(lambda: publish(request.model, weights, details, job_id=job_id).version, hooks)


def train_with_restarts(
    context: TrainingContext, request: JobRequest, job_id: str, hooks: TrainingHooks, *, crashes: int = 0
) -> tuple[dict[str, Any], bytes]:
    """Train in a child process; return the manifest's details and the weights.

    Training resumes from the job's checkpoint, also after a crash of the child, until the job has crashed too often;
    `crashes` counts the earlier ones. Raises TrainingFailedError.
    """
    with retry_until_available(lambda: _create_folder(context.scratch, job_id), hooks) as folder:
        overrides = retry_until_available(lambda: context.inputs.materialize(request, job_id, Path(folder)), hooks)
        local_request = replace(request, settings=request.settings | overrides)
        finished = _train(context, local_request, job_id, Path(folder), hooks, crashes)
        written = json.loads(Path(finished["manifest"]).read_bytes())
        details = retry_until_available(lambda: context.inputs.describe(request, job_id, written), hooks)
        return details, Path(finished["weights"]).read_bytes()


def promote_version(
    settings: Settings, context: TrainingContext, request: JobRequest, job_id: str, version: int
) -> GateDecision:
    """Promote the version of a job if it passes the gate. Raises Unavailable."""
    samples = partial(context.inputs.holdout_samples, request, job_id, version)
    policy = GatePolicy(samples, settings.max_predict_ms, settings.datasets_dir)
    return decide_promotion(context.registry, settings.alias, request, version, policy)


def _create_folder(scratch: Path, job_id: str) -> "tempfile.TemporaryDirectory[str]":
    scratch.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=scratch, prefix=f"{job_id}-", ignore_cleanup_errors=True)


def _train(
    context: TrainingContext, request: JobRequest, job_id: str, folder: Path, hooks: TrainingHooks, crashes: int
) -> Event:
    """Train, with restarts, until there is a result or an error that a restart cannot fix."""
    checkpoint, deadline = folder / CHECKPOINT, time.monotonic() + _RETRY_LIMIT_SECONDS
    retry_until_available(lambda: context.checkpoints.download(job_id, checkpoint), hooks)
    while True:
        try:
            with context.checkpoints.upload_while(job_id, checkpoint, hooks.should_stop):
                return run_training(request, folder, context.threads, hooks)
        except BadCheckpointError as error:
            checkpoint.unlink()
            _log(hooks, f"{error}; training restarts from the beginning")
        except TrainerCrashedError as crash:
            crashes += 1
            hooks.on_event({"event": "died"})
            _log(hooks, str(crash))
            if crashes >= MAX_CRASHES:
                raise TrainingFailedError(crash_limit_message(str(crash))) from None
        except TrainerDiskFullError as error:
            if time.monotonic() > deadline:
                raise
            _log(hooks, f"{error}; waiting for free disk space")
            time.sleep(_RETRY_INTERVAL_SECONDS)
        if hooks.should_stop():
            raise TrainingCancelledError("cancelled")


def crash_limit_message(last: str) -> str:
    """Return why a job is not restarted."""
    return f"it crashed {MAX_CRASHES} times; the last time {last}"


def retry_until_available(action: Callable[[], T], hooks: TrainingHooks | None = None) -> T:
    """Call `action`, which uses the store, the database or the disk, until it succeeds, for up to ten minutes.

    Raises Unavailable or OSError after that, TrainingCancelledError if the job is to stop.
    """
    deadline = time.monotonic() + _RETRY_LIMIT_SECONDS
    while True:
        if hooks and hooks.should_stop():
            raise TrainingCancelledError("cancelled")
        try:
            return action()
        except (Unavailable, OSError) as error:
            if time.monotonic() > deadline:
                raise
            if hooks:
                reason = error.detail if isinstance(error, Unavailable) else error.strerror
                _log(hooks, f"{reason}; retrying")
            time.sleep(_RETRY_INTERVAL_SECONDS)


def _log(hooks: TrainingHooks, line: str) -> None:
    hooks.on_event({"event": "log", "line": line})
