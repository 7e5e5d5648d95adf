"""The bodies of requests and answers, as the OpenAPI description shows them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from service.docstrings import attribute_docstrings

MAX_VERSION = 2**31 - 1
_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"  # a reason is shown in terminals and logs


class Described(BaseModel):
    """What the strings below its fields explain, wherever its JSON Schema is shown."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the explanations to the schema."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in attribute_docstrings(cls).items():
            if name in properties:
                properties[name].setdefault("description", text)
        return schema


class Body(Described):
    """A request body: what it does not know, it refuses, and takes no value for one of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Answer(Described):
    """An answer."""


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
    weights_bytes: int | None = None
    """What weights.npz takes; null when it is missing."""
    files: list[str] = Field(default_factory=list)
    """What can be downloaded beside weights.npz and model.onnx: a card, pictures. Not told in lists."""
    verdict: dict[str, Any] | None = None
    """What the gate said when a job was to promote it: promoted or not, the reason, the figures of the comparison."""


class Misread(Answer):
    """A held-out example that a version misread."""

    example: int
    """Its place among the held-out examples."""
    image: str
    """What the network saw: a gray PNG of 28×28 pixels, in base64."""
    label: str
    """What it is."""
    answer: str
    """What the version took it for."""
    confidence: float
    """How sure it was."""
    against: str | None = None
    """What the other version took it for, when `against` asks for one."""


class AgainstInfo(Answer):
    """Another version on the same examples."""

    version: int
    accuracy: float
    both: int
    """Examples that both misread."""
    this_alone: int
    """Examples that this version misreads and the other one reads."""
    other_alone: int
    """Examples that the other version misreads and this one reads."""


class EvaluationInfo(Answer):
    """How a version reads examples that were held out."""

    model: str
    version: int
    data: str
    """The set that the examples are of: the test examples of mnist or fashion where their files are here, else those
    that the recipe starter holds out; for other labels those that the version's own recipe holds out."""
    examples: int
    accuracy: float
    calibration_error: float
    doubt: str | None
    """Why the figures may flatter it."""
    labels: list[str]
    confusion: list[list[int]] | None
    """How often each label (row) was taken for each (column), in the order of `labels`; null beyond 100 labels."""
    misread_count: int
    misread: list[Misread]
    """Those of which it was most sure first; with `against`, those that the other version reads come before."""
    against: AgainstInfo | None = None


class ModelInfo(Answer):
    """A model, its aliases and its versions, newest first."""

    model: str
    aliases: list[AliasInfo]
    versions: list[VersionInfo]
    next: str | None = None
    """Send it as `after` to GET /models/{name} for older versions; null when there are none."""


class Models(Answer):
    """Models, by name."""

    models: list[ModelInfo]
    next: str | None = None
    """Send it as `after` for the next page; null on the last."""


class PromoteBody(Body):
    """Which version the alias shall mean, and which candidate, if any, is on trial beside it."""

    version: int = Field(ge=1, le=MAX_VERSION)
    reason: str = Field(default="by request", max_length=200, pattern=_ONE_LINE)
    candidate: int | None = Field(default=None, ge=1, le=MAX_VERSION)
    """A version to try beside it; without one, a trial that goes on ends."""
    mode: Literal["canary", "shadow"] | None = None
    """A canary answers its share of the requests; a shadow (the default) reads along and answers none."""
    share: float | None = Field(default=None, gt=0, le=1)
    """Of the requests that name no version; a canary needs it, a shadow reads all by default."""


class RollBackBody(Body):
    """Why the alias goes back."""

    reason: str = Field(default="rolled back by request", max_length=200, pattern=_ONE_LINE)
