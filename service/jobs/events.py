"""Job events: from the training process into the job's record, and from there to subscribers."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from service.errors import Unavailable
from service.jobs.job import Job
from service.jobs.queue import JobQueue
from service.jobs.trainer_process import Event


@dataclass(frozen=True)
class JobEvent:
    """An event for subscribers: `log`, `epoch` and `state` are sent once each, `progress` during an epoch."""

    kind: str
    data: dict[str, Any]
    id: str | None = None
    """Where to resume after it: `<epochs>-<lines of the log>`."""


class JobEventCursor:
    """Tracks which events a subscriber has received. Cursors are equal if the received events are."""

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __init__(self, event_id: str | None = None) -> None:
        """Start after an event; from the beginning if the ID is not one of ours."""
        epoch, _, line = (event_id or "").partition("-")
        is_valid = all(part.isascii() and part.isdigit() for part in (epoch, line))
        self._epoch, self._line = (int(epoch), int(line)) if is_valid else (0, 0)
        self._state: dict[str, Any] | None = None
        self._current: dict[str, Any] | None = None

    def __eq__(self, other: object) -> bool:
        """Compare the received events."""
        return vars(self) == vars(other) if isinstance(other, JobEventCursor) else NotImplemented

    def new_events(self, job: Job) -> Iterator[JobEvent]:
        """Yield the events since the last call. Epochs that a restarted job repeats are yielded once."""
        progress = job.progress
        for number, line in enumerate(progress.log, start=progress.log_lines - len(progress.log) + 1):
            if number > self._line:
                self._line = number
                yield self._event("log", {"line": line})
        for metrics in progress.history:
            if metrics["epoch"] > self._epoch:
                self._epoch = metrics["epoch"]
                yield self._event("epoch", metrics)
        if progress.current and progress.current != self._current and not job.is_final:
            self._current = progress.current
            yield JobEvent("progress", progress.current)
        if (state := _state(job)) != self._state:
            self._state = state
            yield JobEvent("state", state)

    def _event(self, kind: str, data: dict[str, Any]) -> JobEvent:
        return JobEvent(kind, data, f"{self._epoch}-{self._line}")


def _state(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": job.state,
        "attempts": job.attempts,
        "version": job.version,
        "promoted": job.promoted,
        "detail": job.detail,
    }


class ProgressReporter:
    """Saves the events of a training as the progress of its job.

    `on_event` only updates memory, so that a slow database never delays training; `flush` writes.
    """

    def __init__(self, jobs: JobQueue, job: Job, executor_id: str) -> None:
        """Continue the progress of earlier attempts as this worker."""
        self._jobs, self._job, self._executor_id = jobs, job, executor_id
        self._progress = self._saved = job.progress
        self._lock = threading.Lock()

    def on_event(self, event: Event) -> None:
        """Apply an event of the training process."""
        with self._lock:
            progress = self._progress
            match event["event"]:
                case "start":
                    progress = progress.with_start(event["epochs"], event.get("history", []))
                    if self._job.attempts > 1 or progress.trainer_crashes:
                        progress = progress.with_log_line(f"restarted after epoch {progress.epoch}")
                case "epoch":
                    progress = progress.with_epoch(event)
                case "progress":
                    progress = progress.with_step(event)
                case "log":
                    progress = progress.with_log_line(event["line"])
                case "trial":
                    progress = replace(progress, epoch=event["ended"])
                case "died":
                    progress = progress.with_crash()
            self._progress = progress

    def flush(self) -> bool:
        """Write changed progress; return whether the job is to stop, False while the database is unavailable.

        A job is to stop if it was cancelled, or if another worker has taken it over while this process was suspended.
        """
        try:
            if not self._jobs.is_held_by(self._job.id, self._executor_id):
                return True
            if (progress := self._progress) is not self._saved:
                self._jobs.save_progress(self._job.id, progress)
                self._saved = progress
        except Unavailable:
            pass
        return False
