"""The answers of the inference protocols that are not tensors, as the OpenAPI description shows them."""

from typing import Literal

from pydantic import Field

from service.schemas import Answer


class ServerMetadata(Answer):
    """What serves, and which extensions of the protocol it knows."""

    name: str
    version: str
    extensions: list[str]


class Live(Answer):
    """That the event loop turns."""

    live: bool


class Ready(Answer):
    """That a verified model serves."""

    ready: bool
    live: bool


class ModelReady(Answer):
    """That a model, or one version of it, can answer."""

    name: str
    ready: bool


class ModelNames(Answer):
    """All models."""

    models: list[str]


class TensorMetadata(Answer):
    """A tensor of the model."""

    name: str
    datatype: str
    shape: list[int]
    """-1 is any number."""


class ModelMetadata(Answer):
    """What a model takes and what it answers."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(Answer):
    """A tensor in the words of Triton's model configuration."""

    name: str
    data_type: str
    dims: list[int]
    """Without the batch."""


class ModelConfig(Answer):
    """As much of Triton's model configuration as generic clients ask for."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]


class DurationStatistic(Answer):
    """How often, and how long in all."""

    count: int
    ns: int


class InferStatistics(Answer):
    """Where the time of all requests went."""

    success: DurationStatistic
    fail: DurationStatistic
    queue: DurationStatistic
    compute_input: DurationStatistic
    compute_infer: DurationStatistic
    compute_output: DurationStatistic
    cache_hit: DurationStatistic
    cache_miss: DurationStatistic


class BatchStatistics(Answer):
    """The same by batch size."""

    batch_size: int
    compute_input: DurationStatistic
    compute_infer: DurationStatistic
    compute_output: DurationStatistic


class VersionStatistics(Answer):
    """The statistics of one version, of this process since it began."""

    name: str
    version: str
    last_inference: int
    """Milliseconds since 1970; 0: never."""
    inference_count: int
    """Images."""
    execution_count: int
    """Requests: each is one pass over the network."""
    inference_stats: InferStatistics
    batch_stats: list[BatchStatistics]


class ModelStatistics(Answer):
    """The statistics of all versions that were asked for."""

    model_stats: list[VersionStatistics]


class IndexEntry(Answer):
    """One version in the repository."""

    name: str
    version: str
    state: Literal["UNKNOWN", "READY", "UNAVAILABLE", "LOADING", "UNLOADING"]
    reason: str
    """Why it is not ready."""


class Alive(Answer):
    """What KServe's client asks for."""

    status: Literal["alive"]


class VersionError(Answer):
    """Whether something is wrong with a version."""

    error_code: Literal["OK", "DATA_LOSS"]
    error_message: str


class VersionStatus(Answer):
    """One version as TensorFlow Serving shows it."""

    version: str
    state: Literal["AVAILABLE", "END"]
    status: VersionError


class ModelStatus(Answer):
    """A model as KServe and TensorFlow Serving show it."""

    name: str
    ready: bool
    model_version_status: list[VersionStatus]


class ModelSpec(Answer):
    """Which model a description is of."""

    name: str
    signature_name: str
    version: str


class SignatureTensor(Answer):
    """A tensor of a signature."""

    name: str
    dtype: str
    tensor_shape: dict[str, list[dict[str, str]] | bool]


class Signature(Answer):
    """What goes in and what comes out."""

    inputs: dict[str, SignatureTensor]
    outputs: dict[str, SignatureTensor]
    method_name: str


class SignatureMap(Answer):
    """All signatures by name."""

    signature_def: dict[str, Signature]


class SignatureMetadata(Answer):
    """The metadata by kind; there is one kind."""

    signature_def: SignatureMap


class RestMetadata(Answer):
    """A model's description as TensorFlow Serving gives it."""

    model_spec: ModelSpec
    metadata: SignatureMetadata = Field(description="What the model takes and answers.")
