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
from service.jobs.inputs import Provisions
from service.jobs.job import STRIKES, JobRequest
from service.jobs.trainer_process import (
    CHECKPOINT,
    BadCheckpointError,
    ChildKilledError,
    DiskFailedError,
    Event,
    StoppedError,
    TrainingFailedError,
    Watch,
    run_training,
)
from service.registry.registry import Registry

T = TypeVar("T")

_PATIENCE_SECONDS = 600.0
_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Workplace:
    """Where trainings run, and what they need there."""

    registry: Registry
    checkpoints: Checkpoints
    provisions: Provisions
    scratch: Path
    """The folder for what is at work; whatever is in it may be deleted when nothing is."""
    threads: int


def train_and_publish(place: Workplace, request: JobRequest, job_id: str, watch: Watch, *, strikes: int = 0) -> int:
    """Train and publish the result under the job's id; answer the version's number.

    Raises what `train_patiently` and `Registry.publish` raise.
    """
    details, weights = train_patiently(place, request, job_id, watch, strikes=strikes)
    publish = place.registry.publish
    return patiently(lambda: publish(request.model, weights, details, job_id=job_id).version, watch)


def train_patiently(
    place: Workplace, request: JobRequest, job_id: str, watch: Watch, *, strikes: int = 0
) -> tuple[dict[str, Any], bytes]:
    """Train in a child process; answer the manifest's details and the weights.

    It goes on from the job's checkpoint, and again when the child is killed, which counts on the strikes that the job
    had before. Raises TrainingFailedError.
    """
    with patiently(lambda: _folder(place.scratch, job_id), watch) as folder:
        given = patiently(lambda: place.provisions.bring(request, job_id, Path(folder)), watch)
        provided = replace(request, settings=request.settings | given)
        finished = _train(place, provided, job_id, Path(folder), watch, strikes)
        written = json.loads(Path(finished["manifest"]).read_bytes())
        details = patiently(lambda: place.provisions.tell(request, job_id, written), watch)
        return details, Path(finished["weights"]).read_bytes()


def _folder(scratch: Path, job_id: str) -> "tempfile.TemporaryDirectory[str]":
    """Make a folder that goes when it is left."""
    scratch.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=scratch, prefix=f"{job_id}-", ignore_cleanup_errors=True)


def _train(place: Workplace, request: JobRequest, job_id: str, folder: Path, watch: Watch, strikes: int) -> Event:
    """Train until there is a result or a reason why there is none."""
    checkpoint, deadline = folder / CHECKPOINT, time.monotonic() + _PATIENCE_SECONDS
    patiently(lambda: place.checkpoints.fetch(job_id, checkpoint), watch)
    while True:
        try:
            with place.checkpoints.keeping(job_id, checkpoint, watch.should_stop):
                return run_training(request, folder, place.threads, watch)
        except BadCheckpointError as error:
            checkpoint.unlink()
            _say(watch, f"{error}; training begins anew")
        except ChildKilledError as death:
            strikes += 1
            watch.hear({"event": "died"})
            _say(watch, str(death))
            if strikes >= STRIKES:
                raise TrainingFailedError(three_strikes(str(death))) from None
        except DiskFailedError as error:
            if time.monotonic() > deadline:
                raise
            _say(watch, f"{error}; training waits for room")
            time.sleep(_WAIT_SECONDS)
        if watch.should_stop():
            raise StoppedError("cancelled")


def three_strikes(last: str) -> str:
    """Say why a job is not begun again."""
    return f"it was begun {STRIKES} times and never came to an end; the last time {last}"


def patiently(action: Callable[[], T], watch: Watch | None = None) -> T:
    """Do something that needs the store, the database or the disk, again while that fails, for ten minutes.

    Raises Unavailable or OSError after that, StoppedError when the job is to stop.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        if watch and watch.should_stop():
            raise StoppedError("cancelled")
        try:
            return action()
        except (Unavailable, OSError) as error:
            if time.monotonic() > deadline:
                raise
            if watch:
                reason = error.detail if isinstance(error, Unavailable) else error.strerror
                _say(watch, f"{reason}; the job waits")
            time.sleep(_WAIT_SECONDS)


def _say(watch: Watch, line: str) -> None:
    watch.hear({"event": "log", "line": line})
