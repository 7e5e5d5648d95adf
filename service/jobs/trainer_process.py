"""One training run in a child process: started, watched, and never left behind."""

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

from service.jobs.job import JobRequest
from service.repeating import repeating

Event = dict[str, Any]

CHECKPOINT = "checkpoint.npz"
"""The file in a training's folder that it goes on from."""

TRAINING_NICENESS = 10
"""The niceness of trainings, and of a worker beside its jobs: predictions come first."""

_ASK_SECONDS = 0.3
_PATIENCE_SECONDS = 1.0  # between asking a child to end and making it
_CHECKPOINT_SECONDS = 0.5


class TrainingFailedError(Exception):
    """The child could not finish; the text says why."""


class TrainingCancelledError(TrainingFailedError):
    """The child was ended because it was asked for."""


class TrainerCrashedError(TrainingFailedError):
    """A signal that was not ours ended the child: it may be begun again."""


class BadCheckpointError(TrainingFailedError):
    """The child cannot go on from the checkpoint that it was given."""


class TrainerDiskFullError(TrainingFailedError):
    """The child could not write: there may be room again later."""


@dataclass(frozen=True)
class TrainingHooks:
    """Who hears of a training, and who may end it."""

    on_event: Callable[[Event], None]
    """Called with each event of the child, from two threads."""
    should_stop: Callable[[], bool] = lambda: False
    """Asked a few times a second, from a thread of its own."""


def run_training(request: JobRequest, folder: Path, threads: int, hooks: TrainingHooks) -> Event:
    """Train into `folder`, on from the checkpoint there if there is one, and answer the `finished` event.

    Raises TrainingFailedError. The child ends when this process does, since its standard input closes then; it is
    nice to its neighbours.
    """
    command = [sys.executable, "-P", "-m", "training", "fit", "--recipe", request.recipe]
    command += ["--settings", json.dumps(request.settings), "--out", str(folder)]
    command += ["--resume", "--checkpoint-seconds", str(_CHECKPOINT_SECONDS)]
    command += ["--progress", "jsonl", "--stop-when-stdin-closes"]
    resumes = (folder / CHECKPOINT).exists()
    with subprocess.Popen(  # noqa: S603 -- our own module, and settings that were checked
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OPENBLAS_NUM_THREADS": str(threads)},
    ) as child:
        os.setpriority(os.PRIO_PROCESS, child.pid, max(TRAINING_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
        with _listening(child.stderr, hooks.on_event) as words, _ended_when_told(child, hooks.should_stop) as told:
            last = _relay(child.stdout, hooks.on_event)
            child.wait()
    if last.get("event") == "finished":
        return last
    if told.is_set():
        raise TrainingCancelledError("cancelled")
    if resumes and last.get("code") in ("weights", "config"):  # damaged, or of a release that fits no more
        raise BadCheckpointError(last["detail"])
    raise _failure(last, child.returncode, words)


def _failure(last: Event, code: int, words: list[str]) -> TrainingFailedError:
    """Say why there is no result, as the child's last event, its exit code and its last words tell."""
    if last.get("event") == "failed":
        kind = TrainerDiskFullError if last["code"] == "disk" else TrainingFailedError
        return kind(last["detail"])
    if code < 0:
        return TrainerCrashedError(f"training was killed by signal {-code}")
    return TrainingFailedError(f"training ended with code {code}" + (f": {words[-1]}" if words else ""))


def _relay(lines: IO[bytes] | None, hear: Callable[[Event], None]) -> Event:
    """Pass events on, and answer the last. What is no event was cut off when the child was killed."""
    event: Event = {}
    for line in lines or ():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        hear(event)
    return event


@contextmanager
def _listening(lines: IO[bytes] | None, hear: Callable[[Event], None]) -> Iterator[list[str]]:
    """Pass what the child writes on standard error on as events, and give its last words."""
    words: list[str] = []

    def listen() -> None:
        for line in lines or ():
            if text := line.decode(errors="replace").strip():
                words[:] = [text]
                hear({"event": "log", "line": text})

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield words
    finally:
        thread.join()


@contextmanager
def _ended_when_told(child: subprocess.Popen[bytes], should_stop: Callable[[], bool]) -> Iterator[threading.Event]:
    """End the child when it should stop, and in any case at the end of the block; tell whether it should."""
    told = threading.Event()

    def ask() -> None:
        if not told.is_set() and should_stop():
            told.set()
            end(child)

    try:
        with repeating(ask, _ASK_SECONDS):
            yield told
    finally:
        end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask a child to end, and make it when it does not."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
