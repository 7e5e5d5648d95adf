"""Response bodies of the inference protocols, except tensors, as the OpenAPI description shows them."""

from typing import Literal

from pydantic import Field

from service.schemas import ResponseModel


class ServerMetadata(ResponseModel):
    """The server and the protocol extensions that it supports."""

    name: str
    version: str
    extensions: list[str]


class Live(ResponseModel):
    """Liveness."""

    live: bool


class Ready(ResponseModel):
    """Readiness."""

    ready: bool
    live: bool


class ModelReady(ResponseModel):
    """Readiness of a model or of one version."""

    name: str
    ready: bool


class ModelNames(ResponseModel):
    """All models."""

    models: list[str]


class TensorMetadata(ResponseModel):
    """An input or output tensor of a model."""

    name: str
    datatype: str
    shape: list[int]
    """-1 is a variable dimension."""


class ModelMetadata(ResponseModel):
    """The inputs and outputs of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(ResponseModel):
    """A tensor in Triton's model configuration."""

    name: str
    data_type: str
    dims: list[int]
    """Without the batch dimension."""


class ModelConfig(ResponseModel):
    """The part of Triton's model configuration that generic clients use."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]


class DurationStatistic(ResponseModel):
    """A count and a total duration."""

    count: int
    ns: int


class InferStatistics(ResponseModel):
    """Total durations of the phases of all requests."""

    success: DurationStatistic
    fail: DurationStatistic
    queue: DurationStatistic
    compute_input: DurationStatistic
    compute_infer: DurationStatistic
    compute_output: DurationStatistic
    cache_hit: DurationStatistic
    cache_miss: DurationStatistic


class BatchStatistics(ResponseModel):
    """Total durations for one batch size."""

    batch_size: int
    compute_input: DurationStatistic
    compute_infer: DurationStatistic
    compute_output: DurationStatistic


class VersionStatistics(ResponseModel):
    """Statistics of one version in this process since it started."""

    name: str
    version: str
    last_inference: int
    """Milliseconds since 1970; 0 if there was none."""
    inference_count: int
    """Images."""
    execution_count: int
    """Requests; each is one forward pass."""
    inference_stats: InferStatistics
    batch_stats: list[BatchStatistics]


class ModelStatistics(ResponseModel):
    """Statistics of the requested versions."""

    model_stats: list[VersionStatistics]


class IndexEntry(ResponseModel):
    """A version in the model repository."""

    name: str
    version: str
    state: Literal["UNKNOWN", "READY", "UNAVAILABLE", "LOADING", "UNLOADING"]
    reason: str
    """Why the version is not ready; empty if it is."""


class Alive(ResponseModel):
    """Liveness, as KServe's client expects it."""

    status: Literal["alive"]


class VersionError(ResponseModel):
    """The error of a version, or OK."""

    error_code: Literal["OK", "DATA_LOSS"]
    error_message: str


class VersionStatus(ResponseModel):
    """A version as in TensorFlow Serving."""

    version: str
    state: Literal["AVAILABLE", "END"]
    status: VersionError


class ModelStatus(ResponseModel):
    """A model as in KServe and TensorFlow Serving."""

    name: str
    ready: bool
    model_version_status: list[VersionStatus]


class ModelSpec(ResponseModel):
    """The model that the metadata describes."""

    name: str
    signature_name: str
    version: str


class SignatureTensor(ResponseModel):
    """A tensor of a signature."""

    name: str
    dtype: str
    tensor_shape: dict[str, list[dict[str, str]] | bool]


class Signature(ResponseModel):
    """Inputs and outputs."""

    inputs: dict[str, SignatureTensor]
    outputs: dict[str, SignatureTensor]
    method_name: str


class SignatureMap(ResponseModel):
    """All signatures by name."""

    signature_def: dict[str, Signature]


class SignatureMetadata(ResponseModel):
    """Metadata by kind; the only kind is the signatures."""

    signature_def: SignatureMap


class TFServingMetadata(ResponseModel):
    """Model metadata as in TensorFlow Serving."""

    model_spec: ModelSpec
    metadata: SignatureMetadata = Field(description="The inputs and outputs of the model.")
