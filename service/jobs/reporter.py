"""A job's record, kept up to date with what its training says."""

import threading
from dataclasses import replace

from service.errors import Unavailable
from service.jobs.job import Job
from service.jobs.queue import Jobs
from service.jobs.trainer import Event


class Reporter:
    """Writes what it hears into the job's record.

    Two sides use it: `hear` only remembers, so that a slow database never holds up training; `tell` writes.
    """

    def __init__(self, jobs: Jobs, job: Job, executor_id: str) -> None:
        """Go on with the record of the attempts before, as this worker."""
        self._jobs, self._job, self._executor_id = jobs, job, executor_id
        self._progress = self._told = job.progress
        self._lock = threading.Lock()

    def hear(self, event: Event) -> None:
        """Take in an event of the training."""
        with self._lock:
            progress = self._progress
            match event["event"]:
                case "start":
                    progress = progress.begun(event["epochs"], event.get("history", []))
                    if self._job.attempts > 1 or progress.deaths:
                        progress = progress.saying(f"begun again, after epoch {progress.epoch}")
                case "epoch":
                    progress = progress.after(event)
                case "progress":
                    progress = progress.within(event)
                case "log":
                    progress = progress.saying(event["line"])
                case "trial":
                    progress = replace(progress, epoch=event["ended"])
                case "died":
                    progress = progress.bereaved()
            self._progress = progress

    def tell(self) -> bool:
        """Write what is new, and answer whether the job is to stop; False while the database does not answer.

        It is when it was cancelled, or when another worker has taken it over while this one was stopped.
        """
        try:
            if not self._jobs.is_at(self._job.id, self._executor_id):
                return True
            if (progress := self._progress) is not self._told:
                self._jobs.report(self._job.id, progress)
                self._told = progress
        except Unavailable:
            pass
        return False
