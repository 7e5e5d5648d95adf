"""What a training job is: what was asked for, how far it is, and what came of it."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

MAX_CRASHES = 3
"""How often a job may see its worker or its training process die; after that it is failed."""

_MOST_EPOCHS = 500
_MOST_LINES = 50
_LONGEST_LINE = 300
_NOT_WITHIN = ("event", "epochs")
_QUEUED, _RUNNING = "queued", "running"


@dataclass(frozen=True)
class JobRequest:
    """What to train; already checked."""

    recipe: str
    settings: dict[str, Any]
    model: str
    promote: str = "if_better"
    include_samples: bool = False
    """Whether to learn from the samples of the model, too."""
    start_from: str | None = None
    """The version, by number or alias, to go on from; None for a network that knows nothing yet."""
    trials: list[dict[str, Any]] = field(default_factory=list)
    """Of a search: the settings of each of its trials. Each is a job of its own; the best becomes the version."""
    trial_of: str | None = None
    """Of a trial: the search that it belongs to."""


@dataclass(frozen=True)
class Progress:
    """How far a job is; its worker writes it while it trains."""

    epochs: int | None = None
    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    """Figures by epoch. It is written whole each time, so of a long training the older half is kept more coarsely."""
    current: dict[str, Any] | None = None
    """Figures of the epoch at work: step, steps, speed, loss, time left."""
    log: list[str] = field(default_factory=list)
    """The last lines that the training wrote, and that its worker wrote about it."""
    log_lines: int = 0
    """How many lines there were in all."""
    deaths: int = 0
    """How often its training process was killed, be it by the system for want of memory."""

    def with_start(self, epochs: int, history: list[dict[str, Any]]) -> "Progress":
        """Begin, or go on after the epochs of a checkpoint."""
        progress = replace(self, epochs=epochs, epoch=0, history=[], current=None)
        for figures in history:
            progress = progress.with_epoch(figures)
        return progress

    def with_epoch(self, figures: dict[str, Any]) -> "Progress":
        """Add an epoch."""
        history = [*self.history, figures]
        if len(history) > _MOST_EPOCHS:
            middle = len(history) // 2
            history = history[:middle:2] + history[middle:]
        return replace(self, epoch=figures["epoch"], history=history, current=None)

    def with_step(self, figures: dict[str, Any]) -> "Progress":
        """Tell how the epoch at work goes."""
        return replace(self, current={name: value for name, value in figures.items() if name not in _NOT_WITHIN})

    def with_crash(self) -> "Progress":
        """Count a death of the training process."""
        return replace(self, deaths=self.deaths + 1)

    def with_log_line(self, line: str) -> "Progress":
        """Add a line to the log."""
        log = [*self.log, line.rstrip()[:_LONGEST_LINE]][-_MOST_LINES:]
        return replace(self, log=log, log_lines=self.log_lines + 1)


def trial_id(job_id: str, number: int) -> str:
    """Name a trial of a search."""
    return f"{job_id}-{number}"


@dataclass(frozen=True)
class Job:
    """A job as it stands."""

    id: str
    state: str
    """queued, running, succeeded, rejected (trained, but not promoted), failed or cancelled."""
    request: JobRequest
    created: str
    started: str | None
    finished: str | None
    attempts: int
    """How often a worker began it."""
    progress: Progress
    version: int | None = None
    promoted: bool = False
    detail: str | None = None
    returned: int = 0
    """How often a worker gave it back in good order."""
    figures: dict[str, Any] = field(default_factory=dict)
    """Of a trial that succeeded: how good it is."""

    @property
    def is_final(self) -> bool:
        """Whether nothing will change any more."""
        return self.state not in (_QUEUED, _RUNNING)

    @property
    def crashes(self) -> int:
        """How often its worker or its training process died."""
        return max(self.attempts - 1 - self.returned, 0) + self.progress.deaths


def trial_sort_key(trial: Job) -> tuple[bool, float, float]:
    """What to sort trials by: those with a result first, by falling accuracy, among equals by loss."""
    loss = trial.figures.get("loss")
    return trial.state != "succeeded", -(trial.figures.get("accuracy") or 0.0), math.inf if loss is None else loss


def trial_settings(search: Job, trial: Job) -> dict[str, Any]:
    """Give what a trial of a search tries."""
    return search.request.trials[int(trial.id.rpartition("-")[2])]
