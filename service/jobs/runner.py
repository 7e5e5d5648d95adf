"""From a request to a published version, through deaths of the child, full disks and a store out of reach."""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from service.errors import Unavailable
from service.jobs.checkpoints import Checkpoints
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

T = TypeVar("T")

_PATIENCE_SECONDS = 600.0
_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class TrainingContext:
    """Where trainings run, and what they need there."""

    registry: Registry
    checkpoints: Checkpoints
    inputs: JobInputs
    scratch: Path
    """The folder for what is at work; whatever is in it may be deleted when nothing is."""
    threads: int


def train_and_publish(
    context: TrainingContext, request: JobRequest, job_id: str, hooks: TrainingHooks, *, crashes: int = 0
) -> int:
    """Train and publish the result under the job's id; answer the version's number.

    Raises what `train_with_restarts` and `Registry.publish` raise.
    """
    details, weights = train_with_restarts(context, request, job_id, hooks, crashes=crashes)
    publish = context.registry.publish
    return retry_until_available(lambda: publish(request.model, weights, details, job_id=job_id).version, hooks)


def train_with_restarts(
    context: TrainingContext, request: JobRequest, job_id: str, hooks: TrainingHooks, *, crashes: int = 0
) -> tuple[dict[str, Any], bytes]:
    """Train in a child process; answer the manifest's details and the weights.

    It goes on from the job's checkpoint, and again when the child is killed, which counts on the crashes that the job
    had before. Raises TrainingFailedError.
    """
    with retry_until_available(lambda: _folder(context.scratch, job_id), hooks) as folder:
        given = retry_until_available(lambda: context.inputs.materialize(request, job_id, Path(folder)), hooks)
        provided = replace(request, settings=request.settings | given)
        finished = _train(context, provided, job_id, Path(folder), hooks, crashes)
        written = json.loads(Path(finished["manifest"]).read_bytes())
        details = retry_until_available(lambda: context.inputs.describe(request, job_id, written), hooks)
        return details, Path(finished["weights"]).read_bytes()


def _folder(scratch: Path, job_id: str) -> "tempfile.TemporaryDirectory[str]":
    """Make a folder that goes when it is left."""
    scratch.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=scratch, prefix=f"{job_id}-", ignore_cleanup_errors=True)


def _train(
    context: TrainingContext, request: JobRequest, job_id: str, folder: Path, hooks: TrainingHooks, crashes: int
) -> Event:
    """Train until there is a result or a reason why there is none."""
    checkpoint, deadline = folder / CHECKPOINT, time.monotonic() + _PATIENCE_SECONDS
    retry_until_available(lambda: context.checkpoints.download(job_id, checkpoint), hooks)
    while True:
        try:
            with context.checkpoints.upload_while(job_id, checkpoint, hooks.should_stop):
                return run_training(request, folder, context.threads, hooks)
        except BadCheckpointError as error:
            checkpoint.unlink()
            _say(hooks, f"{error}; training begins anew")
        except TrainerCrashedError as death:
            crashes += 1
            hooks.on_event({"event": "died"})
            _say(hooks, str(death))
            if crashes >= MAX_CRASHES:
                raise TrainingFailedError(crash_limit_message(str(death))) from None
        except TrainerDiskFullError as error:
            if time.monotonic() > deadline:
                raise
            _say(hooks, f"{error}; training waits for room")
            time.sleep(_WAIT_SECONDS)
        if hooks.should_stop():
            raise TrainingCancelledError("cancelled")


def crash_limit_message(last: str) -> str:
    """Say why a job is not begun again."""
    return f"it was begun {MAX_CRASHES} times and never came to an end; the last time {last}"


def retry_until_available(action: Callable[[], T], hooks: TrainingHooks | None = None) -> T:
    """Do something that needs the store, the database or the disk, again while that fails, for ten minutes.

    Raises Unavailable or OSError after that, TrainingCancelledError when the job is to stop.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
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
                _say(hooks, f"{reason}; the job waits")
            time.sleep(_WAIT_SECONDS)


def _say(hooks: TrainingHooks, line: str) -> None:
    hooks.on_event({"event": "log", "line": line})
