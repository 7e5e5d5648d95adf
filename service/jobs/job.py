"""A training job: its request, its progress, and its outcome."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

MAX_CRASHES = 3
"""How often the worker or the training process of a job may die before the job fails."""

_MAX_HISTORY = 500
_MAX_LOG_LINES = 50
_MAX_LINE_LENGTH = 300
_NOT_IN_CURRENT = ("event", "epochs")
_QUEUED, _RUNNING = "queued", "running"


@dataclass(frozen=True)
class JobRequest:
    """What to train; already validated."""

    recipe: str
    settings: dict[str, Any]
    model: str
    promote: str = "if_better"
    include_samples: bool = False
    """Whether to train on the samples of the model too."""
    start_from: str | None = None
    """The version, by number or alias, whose weights to start from; None for a new network."""
    trials: list[dict[str, Any]] = field(default_factory=list)
    """For a search, the settings of each trial. Each trial is a separate job; the best becomes the version."""
    trial_of: str | None = None
    """For a trial, the ID of its search."""


@dataclass(frozen=True)
class Progress:
    """The progress of a job, saved by its worker while it trains."""

    epochs: int | None = None
    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    """Metrics by epoch. It is saved as a whole, so the older half of a long history is thinned out."""
    current: dict[str, Any] | None = None
    """Metrics of the current epoch: step, steps, speed, loss, remaining time."""
    log: list[str] = field(default_factory=list)
    """The last log lines of the training process and of its worker."""
    log_lines: int = 0
    """The number of log lines in total."""
    trainer_crashes: int = 0
    """How often the training process was killed, for example by the kernel for lack of memory."""

    def with_start(self, epochs: int, history: list[dict[str, Any]]) -> "Progress":
        """Return the progress at the start of training, or after the epochs of a checkpoint."""
        progress = replace(self, epochs=epochs, epoch=0, history=[], current=None)
        for metrics in history:
            progress = progress.with_epoch(metrics)
        return progress

    def with_epoch(self, metrics: dict[str, Any]) -> "Progress":
        """Add a completed epoch."""
        history = [*self.history, metrics]
        if len(history) > _MAX_HISTORY:
            middle = len(history) // 2
            history = history[:middle:2] + history[middle:]
        return replace(self, epoch=metrics["epoch"], history=history, current=None)

    def with_step(self, metrics: dict[str, Any]) -> "Progress":
        """Replace the metrics of the current epoch."""
        return replace(self, current={name: value for name, value in metrics.items() if name not in _NOT_IN_CURRENT})

    def with_crash(self) -> "Progress":
        """Count a crash of the training process."""
        return replace(self, trainer_crashes=self.trainer_crashes + 1)

    def with_log_line(self, line: str) -> "Progress":
        """Add a line to the log."""
        log = [*self.log, line.rstrip()[:_MAX_LINE_LENGTH]][-_MAX_LOG_LINES:]
        return replace(self, log=log, log_lines=self.log_lines + 1)


def trial_id(job_id: str, number: int) -> str:
    """Return the ID of a trial of a search."""
    return f"{job_id}-{number}"


@dataclass(frozen=True)
class Job:
    """The state of a job."""

    id: str
    state: str
    """queued, running, succeeded, rejected (trained, but not promoted), failed or cancelled."""
    request: JobRequest
    created: str
    started: str | None
    finished: str | None
    attempts: int
    """How often a worker has started it."""
    progress: Progress
    version: int | None = None
    promoted: bool = False
    detail: str | None = None
    requeues: int = 0
    """How often a worker has returned it to the queue in an orderly shutdown."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """The validation metrics of a trial that succeeded."""

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self.state not in (_QUEUED, _RUNNING)

    @property
    def crashes(self) -> int:
        """How often its worker or its training process died."""
        return max(self.attempts - 1 - self.requeues, 0) + self.progress.trainer_crashes


def trial_sort_key(trial: Job) -> tuple[bool, float, float]:
    """Sort trials by success, then by falling accuracy, then by rising loss."""
    loss = trial.metrics.get("loss")
    return trial.state != "succeeded", -(trial.metrics.get("accuracy") or 0.0), math.inf if loss is None else loss


def trial_settings(search: Job, trial: Job) -> dict[str, Any]:
    """Return the settings that a trial of a search tries."""
    return search.request.trials[int(trial.id.rpartition("-")[2])]
