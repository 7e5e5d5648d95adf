"""What a training job is: what was asked for, how far it is, and what came of it."""

from dataclasses import dataclass, field, replace
from typing import Any

_MOST_EPOCHS = 500
_QUEUED, _RUNNING = "queued", "running"


@dataclass(frozen=True)
class JobRequest:
    """What to train; already checked."""

    recipe: str
    settings: dict[str, Any]
    model: str
    promote: str = "if_better"


@dataclass(frozen=True)
class Progress:
    """How far a job is; its worker writes it while it trains."""

    epochs: int | None = None
    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    """Figures by epoch. It is written whole each time, so of a long training the older half is kept more coarsely."""

    def after(self, figures: dict[str, Any]) -> "Progress":
        """Add an epoch."""
        history = [*self.history, figures]
        if len(history) > _MOST_EPOCHS:
            middle = len(history) // 2
            history = history[:middle:2] + history[middle:]
        return replace(self, epoch=figures["epoch"], history=history)


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
    progress: Progress
    version: int | None = None
    promoted: bool = False
    detail: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing will change any more."""
        return self.state not in (_QUEUED, _RUNNING)
