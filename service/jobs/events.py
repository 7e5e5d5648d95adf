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
    """One piece of news: `log`, `epoch` and `state` come once each, `progress` while an epoch goes on."""

    kind: str
    data: dict[str, Any]
    place: str | None = None
    """Where to go on after it: `<epochs>-<lines of the log>`."""


class JobEventCursor:
    """Knows what a follower has heard. Two are equal when they have heard the same."""

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __init__(self, place: str | None = None) -> None:
        """Go on after a place; from the beginning when it is none of ours."""
        epoch, _, line = (place or "").partition("-")
        is_ours = all(part.isascii() and part.isdigit() for part in (epoch, line))
        self._epoch, self._line = (int(epoch), int(line)) if is_ours else (0, 0)
        self._state: dict[str, Any] | None = None
        self._current: dict[str, Any] | None = None

    def __eq__(self, other: object) -> bool:
        """Compare all that was heard."""
        return vars(self) == vars(other) if isinstance(other, JobEventCursor) else NotImplemented

    def new_events(self, job: Job) -> Iterator[JobEvent]:
        """Tell what is new. Epochs that a job repeats after it was cut off are the same again: they are told once."""
        progress = job.progress
        for number, line in enumerate(progress.log, start=progress.log_lines - len(progress.log) + 1):
            if number > self._line:
                self._line = number
                yield self._once("log", {"line": line})
        for epoch in progress.history:
            if epoch["epoch"] > self._epoch:
                self._epoch = epoch["epoch"]
                yield self._once("epoch", epoch)
        if progress.current and progress.current != self._current and not job.is_final:
            self._current = progress.current
            yield JobEvent("progress", progress.current)
        if (state := _summary(job)) != self._state:
            self._state = state
            yield JobEvent("state", state)

    def _once(self, kind: str, data: dict[str, Any]) -> JobEvent:
        return JobEvent(kind, data, f"{self._epoch}-{self._line}")


def _summary(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": job.state,
        "attempts": job.attempts,
        "version": job.version,
        "promoted": job.promoted,
        "detail": job.detail,
    }


class ProgressReporter:
    """Writes what it hears into the job's record.

    Two sides use it: `hear` only remembers, so that a slow database never holds up training; `tell` writes.
    """

    def __init__(self, jobs: JobQueue, job: Job, executor_id: str) -> None:
        """Go on with the record of the attempts before, as this worker."""
        self._jobs, self._job, self._executor_id = jobs, job, executor_id
        self._progress = self._told = job.progress
        self._lock = threading.Lock()

    def on_event(self, event: Event) -> None:
        """Take in an event of the training."""
        with self._lock:
            progress = self._progress
            match event["event"]:
                case "start":
                    progress = progress.with_start(event["epochs"], event.get("history", []))
                    if self._job.attempts > 1 or progress.deaths:
                        progress = progress.with_log_line(f"begun again, after epoch {progress.epoch}")
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
        """Write what is new, and answer whether the job is to stop; False while the database does not answer.

        It is when it was cancelled, or when another worker has taken it over while this one was stopped.
        """
        try:
            if not self._jobs.is_held_by(self._job.id, self._executor_id):
                return True
            if (progress := self._progress) is not self._told:
                self._jobs.save_progress(self._job.id, progress)
                self._told = progress
        except Unavailable:
            pass
        return False
