"""The bodies of requests and responses, as the OpenAPI description shows them."""

from typing import Any, Literal

from pydantic import Field

from service.schemas import MAX_VERSION, RequestModel, ResponseModel

_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"  # reasons appear in terminals and logs


class Problem(ResponseModel):
    """An error (RFC 9457), with `error` for clients of the inference protocols."""

    type: str
    """Always about:blank; use `code` to distinguish errors."""
    title: str
    status: int
    detail: str
    """What went wrong and what to do."""
    code: str
    """A stable identifier of the error, for programs."""
    error: str
    """The same as `detail`."""
    request_id: str
    field: str | None = None
    """The invalid field or parameter of the request."""


class ExplanationInfo(ResponseModel):
    """The explanation of a prediction."""

    label: str
    """The explained class, which is the most probable one."""
    image: str
    """The input of the network: a grayscale PNG of 28×28 pixels, in base64."""
    saliency: list[list[float]]
    """28 rows of 28 numbers: the contribution of each pixel to the score of the class (gradient × input)."""
    saliency_image: str
    """The saliency as a PNG in base64: red pixels count for the class, blue pixels against it."""


class Prediction(ResponseModel):
    """The prediction for one image."""

    label: str
    """The most probable class."""
    confidence: float
    """The probability of that class."""
    probabilities: dict[str, float]
    """By label, highest first; limited by `top_k`."""
    explanation: ExplanationInfo | None = None
    """Present with `explain=true`."""


class SinglePrediction(Prediction):
    """The response to one image."""

    model: str
    version: int
    """The version that made the prediction."""
    request_id: str


class ImageError(ResponseModel):
    """Why one image of several could not be decoded. The other images are not affected."""

    error: str
    code: str
    status: int


class BatchPrediction(ResponseModel):
    """The response to several images, in their order."""

    predictions: list[Prediction | ImageError]
    model: str
    version: int
    request_id: str


class AliasInfo(ResponseModel):
    """The version that an alias points to."""

    alias: str
    version: int
    generation: int
    """Incremented by every change; send it as If-Match to change the alias only if it is still current."""
    since: str
    reason: str
    candidate: int | None = None
    """The candidate version."""
    share: float | None = None
    """The fraction of requests that are sampled for the candidate, by the hash of the request id."""
    mode: Literal["canary", "shadow"] | None = None
    """A canary answers its share of the requests; a shadow receives a copy and answers none."""


class CandidateStats(ResponseModel):
    """Statistics of the candidate in the process that responds, since the candidate was loaded there."""

    requests: int
    """Requests answered by the canary or sampled for the shadow."""
    compared: int
    """Images predicted by both versions."""
    agreement: float | None
    """The fraction of compared images with the same label; null before the first comparison."""
    dropped: int
    """Requests not compared because the comparison queue was full."""


class AliasStatus(AliasInfo):
    """The current version of an alias, and the statistics of its candidate."""

    trial: CandidateStats | None = None
    """Null without a candidate, or if this process does not serve this alias."""
    trouble: str | None = None
    """Why the candidate could not be loaded in this process."""


class VersionInfo(ResponseModel):
    """A version of a model."""

    model: str
    version: int
    aliases: list[str]
    """The aliases that point to it."""
    manifest: dict[str, Any]
    weights_bytes: int | None = None
    """The size of weights.npz; null if it is missing."""
    files: list[str] = Field(default_factory=list)
    """Files that can be downloaded besides weights.npz and model.onnx: a model card and images. Empty in lists."""
    verdict: dict[str, Any] | None = None
    """The decision of the promotion gate: whether it was promoted, the reason and the metrics of the comparison."""


class Misclassification(ResponseModel):
    """A held-out example that a version misclassified."""

    example: int
    """The index among the held-out examples."""
    image: str
    """The input of the network: a grayscale PNG of 28×28 pixels, in base64."""
    label: str
    """The true label."""
    answer: str
    """The predicted label."""
    confidence: float
    """The probability of the predicted label."""
    against: str | None = None
    """The label predicted by the other version, if `against` names one."""


class ComparisonInfo(ResponseModel):
    """Another version evaluated on the same examples."""

    version: int
    accuracy: float
    both: int
    """Examples that both versions misclassify."""
    this_alone: int
    """Examples that only this version misclassifies."""
    other_alone: int
    """Examples that only the other version misclassifies."""


class EvaluationInfo(ResponseModel):
    """The evaluation of a version on held-out examples."""

    model: str
    version: int
    data: str
    """The source of the examples: the test set of mnist or fashion if its files are available, else the examples that
    the recipe starter holds out; for other labels the examples that the recipe of the version holds out."""
    examples: int
    accuracy: float
    calibration_error: float
    doubt: str | None
    """Why the result may be too optimistic."""
    labels: list[str]
    confusion: list[list[int]] | None
    """The confusion matrix, true labels in rows and predicted labels in columns, in the order of `labels`. Null for
    more than 100 labels."""
    misread_count: int
    misread: list[Misclassification]
    """Highest confidence first; with `against`, those that the other version classifies correctly come before."""
    against: ComparisonInfo | None = None


class ModelInfo(ResponseModel):
    """A model, its aliases and its versions, newest first."""

    model: str
    aliases: list[AliasInfo]
    versions: list[VersionInfo]
    next: str | None = None
    """Send it as `after` to GET /models/{name} for older versions; null if there are none."""


class Models(ResponseModel):
    """Models, by name."""

    models: list[ModelInfo]
    next: str | None = None
    """Send it as `after` for the next page; null on the last."""


class PromoteBody(RequestModel):
    """The version that the alias is to point to, and its candidate, if any."""

    version: int = Field(ge=1, le=MAX_VERSION)
    reason: str = Field(default="by request", max_length=200, pattern=_ONE_LINE)
    candidate: int | None = Field(default=None, ge=1, le=MAX_VERSION)
    """A candidate version; without one, an existing candidate is removed."""
    mode: Literal["canary", "shadow"] | None = None
    """A canary answers its share of the requests; a shadow (the default) receives a copy and answers none."""
    share: float | None = Field(default=None, gt=0, le=1)
    """The fraction of requests without a version; required for a canary, 1 by default for a shadow."""


class RollBackBody(RequestModel):
    """Why the alias is rolled back."""

    reason: str = Field(default="rolled back by request", max_length=200, pattern=_ONE_LINE)
