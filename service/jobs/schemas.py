"""Request and response bodies of training jobs."""

from typing import Any, Literal

from pydantic import Field

from service.schemas import RequestModel, ResponseModel


class SearchBody(RequestModel):
    """A hyperparameter search: over all combinations of choices, or over random samples."""

    space: dict[str, Any] = Field(
        examples=[{"learning_rate": {"low": 1e-4, "high": 0.01, "log": True}, "batch_size": [32, 128]}]
    )
    """Values by setting: a list of choices, or a range with `low` and `high`, and optionally `log` and `int`."""
    trials: int | None = Field(default=None, ge=1)
    """Number of random trials; by default all combinations."""
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """Random seed of the trials."""


class TrainBody(RequestModel):
    """A training job. An empty body trains the starter recipe and promotes the result if it is better.

    The starter recipe is for testing: its version is rejected next to a bundled model. Recipes whose versions can pass
    are `corrections`, which fine-tunes the serving version, and `mnist`.
    """

    recipe: str = "starter"
    """The recipe; GET /train/recipes lists them."""
    settings: dict[str, Any] = Field(default_factory=dict, examples=[{"epochs": 3, "layers": [784, 64, 10]}])
    """Settings to change, as `python -m training fit --set` takes them."""
    dataset: str | None = Field(default=None, max_length=100, examples=["starter"])
    """Train on this data set instead of the recipe's own; GET /train/datasets lists them."""
    model: str | None = Field(default=None, max_length=63)
    """The model that gets the new version; by default the serving one."""
    promote: Literal["always", "if_better", "never"] = "if_better"
    """Whether to promote the new version: `if_better` compares it with the serving one on held-out examples."""
    include_samples: bool = False
    """Train on samples from POST /samples too; a part of them is held out for the comparison."""
    start_from: str | None = Field(default=None, pattern="^[a-z0-9][a-z0-9_-]{0,62}$", examples=["production"])
    """Start from this version of the model, by number or alias; `corrections` starts from the serving one."""
    search: SearchBody | None = None
    """Try several settings, each in a separate job; the best one by validation becomes the version."""
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    """Random seed."""
    max_minutes: float | None = Field(default=None, gt=0)
    """Stop training after this time and keep the result; the limit of the service applies too."""


class Datasets(ResponseModel):
    """A page of data sets for training."""

    datasets: list[str]
    next: str | None = None
    """Value of `after` for the next page; null on the last page."""


class EpochMetrics(ResponseModel):
    """Metrics of one epoch."""

    epoch: int
    train_loss: float
    train_accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float
    images_per_second: float


class StepMetrics(ResponseModel):
    """Metrics of the current epoch, updated about twice a second."""

    epoch: int
    step: int
    steps: int
    """Number of steps in the epoch."""
    train_loss: float
    """Mean over the epoch so far."""
    train_accuracy: float | None
    images_per_second: float
    seconds_left: float
    """Estimated time until the last epoch ends."""


class SearchTrialInfo(ResponseModel):
    """A trial of a search."""

    id: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    settings: dict[str, Any]
    """The settings of the trial."""
    accuracy: float | None
    """Validation accuracy."""
    loss: float | None
    epochs: int | None
    seconds: float | None
    detail: str | None


class JobInfo(ResponseModel):
    """A training job."""

    id: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled", "rejected"]
    """`rejected`: the version was published but did not pass the comparison."""
    request: dict[str, Any]
    created: str
    started: str | None
    finished: str | None
    attempts: int
    """How often a worker has started it; it resumes from its checkpoint."""
    strikes: int
    """How often its worker or its training process crashed; it fails the third time."""
    epoch: int
    epochs: int | None
    current: StepMetrics | None
    """Metrics of the current epoch."""
    history: list[EpochMetrics]
    """Metrics by epoch; above 500 epochs the older ones are thinned out. In lists, only the last."""
    trials: list[SearchTrialInfo] | None
    """The trials of a search by rank; null in lists."""
    log: list[str]
    """The last 50 log lines of the training process and its worker. In lists, only the last."""
    model: str | None
    version: int | None
    """The published version."""
    promoted: bool
    detail: str | None
    """Why it failed, or the result of the comparison."""


class Jobs(ResponseModel):
    """A page of jobs, newest first."""

    jobs: list[JobInfo]
    next: str | None = None
    """Value of `after` for the next page; null on the last page."""
