"""The bodies of requests and answers about training jobs."""

from typing import Any, Literal

from pydantic import Field

from service.schemas import Answer, Body


class SearchBody(Body):
    """A search: every combination of choices, or so many trials drawn at random."""

    space: dict[str, Any] = Field(
        examples=[{"learning_rate": {"low": 1e-4, "high": 0.01, "log": True}, "batch_size": [32, 128]}]
    )
    """Settings and what they may be: a list of choices, or a range of low and high, perhaps log and int."""
    trials: int | None = Field(default=None, ge=1)
    """Draw so many at random; without it, every combination is tried."""
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """Of the draws."""


class TrainBody(Body):
    """A training job. An empty body trains the starter recipe and promotes the result if it is better.

    That recipe is for trying things out: its version is rejected where a released model serves. What can take over is
    the recipe `corrections`, which goes on from the serving version, or `mnist`.
    """

    recipe: str = "starter"
    """The recipe to follow; GET /train/recipes lists them."""
    settings: dict[str, Any] = Field(default_factory=dict, examples=[{"epochs": 3, "layers": [784, 64, 10]}])
    """Settings to change, as `python -m training fit --set` takes them."""
    dataset: str | None = Field(default=None, max_length=100, examples=["starter"])
    """Learn from this data set instead of the recipe's own; GET /train/datasets lists them."""
    model: str | None = Field(default=None, max_length=63)
    """The model that gets the new version; by default the one that serves."""
    promote: Literal["always", "if_better", "never"] = "if_better"
    """Whether the new version takes over: if_better compares both on the recipe's held-out examples."""
    include_samples: bool = False
    """Learn from the samples too, that users have sent to POST /samples; a part is held out to judge by."""
    start_from: str | None = Field(default=None, pattern="^[a-z0-9][a-z0-9_-]{0,62}$", examples=["production"])
    """Go on from this version of the model, by number or alias; the recipe corrections does from the serving one."""
    search: SearchBody | None = None
    """Try several settings, each as a job of its own; the best by validation becomes the version."""
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    """Of everything random."""
    max_minutes: float | None = Field(default=None, gt=0)
    """End training after this time with what it has; the service's own limit holds too."""


class Datasets(Answer):
    """The data sets that jobs may learn from."""

    datasets: list[str]
    next: str | None = None
    """Send it as `after` for the next page; null on the last."""


class EpochFigures(Answer):
    """What one epoch did."""

    epoch: int
    train_loss: float
    train_accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float
    images_per_second: float


class CurrentFigures(Answer):
    """How the epoch at work goes; written about twice a second."""

    epoch: int
    step: int
    steps: int
    """How many the epoch has."""
    train_loss: float
    """The mean over the epoch so far."""
    train_accuracy: float | None
    images_per_second: float
    seconds_left: float
    """Until the job's last epoch ends, unless something stops it before."""


class SearchTrialInfo(Answer):
    """A trial of a search; the ended ones first, by rank."""

    id: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    settings: dict[str, Any]
    """What it tries."""
    accuracy: float | None
    """Of validation."""
    loss: float | None
    epochs: int | None
    seconds: float | None
    detail: str | None


class JobInfo(Answer):
    """A training job."""

    id: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled", "rejected"]
    """rejected: trained and kept as a version, but not promoted, since it was not better."""
    request: dict[str, Any]
    created: str
    started: str | None
    finished: str | None
    attempts: int
    """How often a worker began it; it goes on where it was when a worker ends or dies."""
    strikes: int
    """How often its worker or its training process died; the third time it is failed."""
    epoch: int
    epochs: int | None
    current: CurrentFigures | None
    """How the epoch at work goes."""
    history: list[EpochFigures]
    """Figures by epoch; of more than 500 epochs the older ones more coarsely. In lists, the last alone."""
    trials: list[SearchTrialInfo] | None
    """Of a search, its table; not told in lists."""
    log: list[str]
    """The last 50 lines that the training wrote, and its worker about it. In lists, the last alone."""
    model: str | None
    version: int | None
    """The version that it made."""
    promoted: bool
    detail: str | None
    """Why it failed, or what the comparison said."""


class Jobs(Answer):
    """Jobs, newest first."""

    jobs: list[JobInfo]
    next: str | None = None
    """Send it as `after` for the next page; null on the last."""
