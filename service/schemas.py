"""The bodies of requests and answers, as the OpenAPI description shows them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_VERSION = 2**31 - 1


class Body(BaseModel):
    """A request body: what it does not know, it refuses."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Answer(BaseModel):
    """An answer."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Problem(Answer):
    """Every error (RFC 9457), with `error` for inference clients."""

    type: str
    """Always about:blank; `code` tells errors apart."""
    title: str
    status: int
    detail: str
    """What went wrong and what to do."""
    code: str
    """For programs: stays the same when the words change."""
    error: str
    """The same as `detail`."""
    request_id: str
    field: str | None = None
    """The part of the request at fault."""


class ExplanationInfo(Answer):
    """Why an answer came out as it did."""

    label: str
    """The class that is explained: the most probable one."""
    image: str
    """What the network saw: a gray PNG of 28×28 pixels, in base64."""
    saliency: list[list[float]]
    """28 rows of 28 numbers: what each pixel added to the score of that class (gradient × input)."""
    saliency_image: str
    """The same as a PNG in base64: red pixels spoke for the class, blue ones against it."""


class Prediction(Answer):
    """What is on one image."""

    label: str
    """The most probable class."""
    confidence: float
    """Its probability."""
    probabilities: dict[str, float]
    """By label, most probable first; `top_k` of them when asked for."""
    explanation: ExplanationInfo | None = None
    """Only when asked for by `explain=true`."""


class SinglePrediction(Prediction):
    """The answer to one image."""

    model: str
    version: int
    """The version that made this answer."""
    request_id: str


class ImageError(Answer):
    """Why one image of several could not be read; the others are not affected."""

    error: str
    code: str
    status: int


class BatchPrediction(Answer):
    """The answer to several images, in their order."""

    predictions: list[Prediction | ImageError]
    model: str
    version: int
    request_id: str


class AliasInfo(Answer):
    """What an alias means."""

    alias: str
    version: int
    generation: int
    """Counts the promotions; send it back as If-Match to promote only if nobody else did."""
    since: str
    reason: str
    candidate: int | None = None
    """The version on trial beside it."""
    share: float | None = None
    """Of the requests that meet the trial, by the hash of their ids."""
    mode: Literal["canary", "shadow"] | None = None
    """A canary answers its share of the requests; a shadow reads along and answers none."""


class TrialInfo(Answer):
    """What a trial has shown in the process that answers, since it began there."""

    requests: int
    """Requests that the canary has answered, or that were taken for the shadow."""
    compared: int
    """Images that both versions have read."""
    agreement: float | None
    """How often both gave the same label; null before the first comparison."""
    dropped: int
    """Requests that were not compared, since comparing did not keep up."""


class AliasNow(AliasInfo):
    """What an alias means now, and how the trial of its candidate goes."""

    trial: TrialInfo | None = None
    """Null where there is no candidate, or where this process does not serve by this alias."""
    trouble: str | None = None
    """Why the candidate is not on trial in this process."""


class VersionInfo(Answer):
    """What is known of a version."""

    model: str
    version: int
    aliases: list[str]
    """The aliases that mean it now."""
    manifest: dict[str, Any]


class ModelInfo(Answer):
    """A model, its aliases and its versions, newest first."""

    model: str
    aliases: list[AliasInfo]
    versions: list[VersionInfo]


class Models(Answer):
    """All models."""

    models: list[ModelInfo]


class PromoteBody(Body):
    """Which version the alias shall mean, and which candidate, if any, is on trial beside it."""

    version: int = Field(ge=1, le=MAX_VERSION)
    reason: str = Field(default="by request", max_length=200)
    candidate: int | None = Field(default=None, ge=1, le=MAX_VERSION)
    """A version to try beside it; without one, a trial that goes on ends."""
    mode: Literal["canary", "shadow"] | None = None
    """A canary answers its share of the requests; a shadow (the default) reads along and answers none."""
    share: float | None = Field(default=None, gt=0, le=1)
    """Of the requests that name no version; a canary needs it, a shadow reads all by default."""


class RollBackBody(Body):
    """Why the alias goes back."""

    reason: str = Field(default="rolled back by request", max_length=200)


class TrainBody(Body):
    """A training job. An empty body trains the starter recipe and promotes the result if it is better."""

    recipe: str = "starter"
    """The recipe to follow; GET /train/recipes lists them."""
    settings: dict[str, Any] = Field(default_factory=dict, examples=[{"epochs": 3, "layers": [784, 64, 10]}])
    """Settings to change, as `python -m training fit --set` takes them."""
    dataset: Literal["starter", "mnist", "fashion"] | None = None
    """Learn from this data set instead of the recipe's own."""
    model: str | None = Field(default=None, max_length=63)
    """The model that gets the new version; by default the one that serves."""
    promote: Literal["always", "if_better", "never"] = "if_better"
    """Whether the new version takes over: if_better compares both on the recipe's held-out examples."""
    include_samples: bool = False
    """Learn from the samples too, that users have sent to POST /samples; a part is held out to judge by."""
    start_from: str | None = Field(default=None, pattern="^[a-z0-9][a-z0-9_-]{0,62}$", examples=["production"])
    """Go on from this version of the model, by number or alias; the recipe corrections does from the serving one."""
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    """Of everything random."""
    max_minutes: float | None = Field(default=None, gt=0)
    """End training after this time with what it has; the service's own limit holds too."""


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
    log: list[str]
    """The last 50 lines that the training wrote, and its worker about it. In lists, the last alone."""
    model: str | None
    version: int | None
    """The version that it made."""
    promoted: bool
    detail: str | None
    """Why it failed, or what the comparison said."""


class Jobs(Answer):
    """All jobs, newest first."""

    jobs: list[JobInfo]
