"""One training run in a child process: started, watched, and never left behind."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from service.job import JobRequest
from service.registry import Registry

Event = dict[str, Any]

_POLITENESS = 10  # added to the niceness of the child, so that predictions come first
_ASK_SECONDS = 0.3
_PATIENCE_SECONDS = 1.0  # between asking a child to end and making it


class TrainingFailedError(Exception):
    """The child could not finish; the text says why."""


def train_and_publish(
    registry: Registry,
    request: JobRequest,
    job_id: str,
    *,
    scratch: Path,
    threads: int,
    on_event: Callable[[Event], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Train in a child process and publish the result under the job's id; answer the version's number.

    Raises TrainingFailedError, and what `Registry.publish` raises.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=f"{job_id}-", ignore_cleanup_errors=True) as folder:
        finished = run_training(request, Path(folder), threads, on_event, should_stop)
        if should_stop():
            raise TrainingFailedError("cancelled")
        details = json.loads(Path(finished["manifest"]).read_bytes())
        weights = Path(finished["weights"]).read_bytes()
        return registry.publish(request.model, weights, details, job_id=job_id).version


def run_training(
    request: JobRequest, folder: Path, threads: int, on_event: Callable[[Event], None], should_stop: Callable[[], bool]
) -> Event:
    """Train into `folder` and answer the `finished` event. Raises TrainingFailedError, also when stopped.

    `should_stop` is asked a few times a second, from a thread of its own. The child ends when this process does, since
    its standard input closes then; it is nice to its neighbours.
    """
    command = [sys.executable, "-m", "training", "fit", "--recipe", request.recipe]
    command += ["--settings", json.dumps(request.settings), "--out", str(folder)]
    command += ["--progress", "jsonl", "--stop-when-stdin-closes"]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(  # noqa: S603 -- our own module, and settings that were checked
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=os.environ | {"OPENBLAS_NUM_THREADS": str(threads)},
        ) as child,
    ):
        os.setpriority(os.PRIO_PROCESS, child.pid, _POLITENESS)
        ended = threading.Event()
        watcher = threading.Thread(target=_end_when_told, args=(child, should_stop, ended), daemon=True)
        watcher.start()
        try:
            events = deque[Event](maxlen=1)
            for line in child.stdout or ():
                events.append(json.loads(line))
                on_event(events[-1])
            child.wait()
        finally:
            ended.set()
            end(child)
            watcher.join()
        last = events[-1] if events else {}
        if last.get("event") != "finished":
            raise TrainingFailedError(last.get("detail") or _last_words(complaints, child.returncode))
        return last


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


def _end_when_told(child: subprocess.Popen[bytes], should_stop: Callable[[], bool], ended: threading.Event) -> None:
    while not ended.wait(_ASK_SECONDS):
        if should_stop():
            end(child)
            return


def _last_words(complaints: IO[bytes], code: int) -> str:
    complaints.seek(0)
    words = complaints.read().decode(errors="replace").strip().splitlines()
    return f"training ended with code {code}" + (f": {words[-1]}" if words else "")
