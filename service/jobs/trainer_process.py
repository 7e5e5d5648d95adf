"""One training run in a child process: started, monitored, and always terminated."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from service.jobs.checkpoints import run_periodically
from service.jobs.job import JobRequest

Event = dict[str, Any]

CHECKPOINT = "checkpoint.npz"
"""The file in a training's folder that training resumes from."""

TRAINING_NICENESS = 10
"""The niceness of trainings and of workers, so that predictions run first."""

_STOP_CHECK_SECONDS = 0.3
_TERMINATE_TIMEOUT_SECONDS = 1.0  # between SIGTERM and SIGKILL
_CHECKPOINT_SECONDS = 0.5


class TrainingFailedError(Exception):
    """The training failed; the message says why."""


class TrainingCancelledError(TrainingFailedError):
    """The training was stopped on request."""


class TrainerCrashedError(TrainingFailedError):
    """A signal that we did not send killed the child: it may be restarted."""


class BadCheckpointError(TrainingFailedError):
    """The child cannot resume from its checkpoint."""


class TrainerDiskFullError(TrainingFailedError):
    """The child could not write: there may be free disk space later."""


@dataclass(frozen=True)
class TrainingHooks:
    """Callbacks of a training."""

    on_event: Callable[[Event], None]
    """Called with each event of the child, from two threads."""
    should_stop: Callable[[], bool] = lambda: False
    """Called a few times per second, from a separate thread."""


def run_training(request: JobRequest, folder: Path, threads: int, hooks: TrainingHooks) -> Event:
    """Train into `folder`, resuming from a checkpoint there; return the `finished` event.

    Raises TrainingFailedError. If this process dies, the child's standard input closes and it exits.
    """
    command = [sys.executable, "-P", "-m", "training", "fit", "--recipe", request.recipe]
    command += ["--settings", json.dumps(request.settings), "--out", str(folder)]
    command += ["--resume", "--checkpoint-seconds", str(_CHECKPOINT_SECONDS)]
    command += ["--progress", "jsonl", "--stop-when-stdin-closes"]
    resumes = (folder / CHECKPOINT).exists()
    with subprocess.Popen(  # noqa: S603 -- our own module, and validated settings
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OPENBLAS_NUM_THREADS": str(threads)},
    ) as child:
        os.setpriority(os.PRIO_PROCESS, child.pid, max(TRAINING_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
        with _forward_stderr(child.stderr, hooks) as last_line, _stop_on_request(child, hooks) as stopped:
            last_event = _forward_events(child.stdout, hooks)
            child.wait()
    if last_event.get("event") == "finished":
        return last_event
    if stopped.is_set():
        raise TrainingCancelledError("cancelled")
    if resumes and last_event.get("code") in ("weights", "config"):  # damaged, or of an incompatible release
        raise BadCheckpointError(last_event["detail"])
    raise _failure(last_event, child.returncode, last_line)


def _failure(last_event: Event, code: int, last_line: list[str]) -> TrainingFailedError:
    """Return the error that the child's last event, exit code and last line on standard error describe."""
    if last_event.get("event") == "failed":
        kind = TrainerDiskFullError if last_event["code"] == "disk" else TrainingFailedError
        return kind(last_event["detail"])
    if code < 0:
        return TrainerCrashedError(f"training was killed by signal {-code}")
    return TrainingFailedError(f"training ended with code {code}" + (f": {last_line[-1]}" if last_line else ""))


def _forward_events(lines: IO[bytes] | None, hooks: TrainingHooks) -> Event:
    """Pass on the child's events and return the last; ignore a line that was cut off when the child was killed."""
    event: Event = {}
    for line in lines or ():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        hooks.on_event(event)
    return event


@contextmanager
def _forward_stderr(lines: IO[bytes] | None, hooks: TrainingHooks) -> Iterator[list[str]]:
    """Pass on the child's standard error as log events; yield a list with its last line."""
    last_line: list[str] = []

    def forward() -> None:
        for line in lines or ():
            if text := line.decode(errors="replace").strip():
                last_line[:] = [text]
                hooks.on_event({"event": "log", "line": text})

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()
    try:
        yield last_line
    finally:
        thread.join()


@contextmanager
def _stop_on_request(child: subprocess.Popen[bytes], hooks: TrainingHooks) -> Iterator[threading.Event]:
    """Terminate the child if it should stop, and at the end of the block; yield an event that is set on request."""
    stopped = threading.Event()

    def check() -> None:
        if not stopped.is_set() and hooks.should_stop():
            stopped.set()
            terminate(child)

    try:
        with run_periodically(check, _STOP_CHECK_SECONDS):
            yield stopped
    finally:
        terminate(child)


def terminate(child: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to a child, and SIGKILL if it does not exit."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(_TERMINATE_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
