"""Open Inference Protocol V2: infer, metadata and health, and Triton's extensions for configuration and statistics."""

from functools import partial
from itertools import islice
from typing import Any

from fastapi import APIRouter, Request, Response

from service.api.dependencies import RequestIdDep, ServicesDep
from service.api.routes import health
from service.api.routes.protocol_handler import (
    EncodedResponse,
    InferContext,
    InferResult,
    infer,
    load_model,
    parsed_version,
)
from service.api.routes.protocol_openapi import INFER, INFER_ANSWERS
from service.errors import NotFound, UnprocessableContent
from service.inference.model_input import RAW_IMAGE_SPEC, describe_input
from service.inference.model_output import OUTPUTS, check_outputs, describe_outputs, output_tensor
from service.inference.open_inference import InferRequest, RequestedOutput, read_request, write_response
from service.inference.schemas import (
    Live,
    ModelConfig,
    ModelMetadata,
    ModelNames,
    ModelReady,
    ModelStatistics,
    Ready,
    ServerMetadata,
)
from service.registry.manifest import Manifest
from service.services import Services

router = APIRouter(prefix="/v2", tags=["inference V2"])


def _parse(json_length: str | None, body: bytes) -> InferRequest:
    message = read_request(body, json_length, RAW_IMAGE_SPEC)
    check_outputs(message.outputs)
    return message


def _write(message: InferRequest, result: InferResult) -> EncodedResponse:
    snapshot = result.snapshot
    names = OUTPUTS[:1] if message.wants_array else OUTPUTS
    asked = message.outputs or [RequestedOutput(name, message.binary, None) for name in names]
    tensors = [(output_tensor(output, result.probabilities, snapshot.labels), output.binary) for output in asked]
    content, json_length = write_response(snapshot.model, str(snapshot.version), message.id, tensors)
    media_type = "application/json" if json_length is None else "application/octet-stream"
    return EncodedResponse(content, media_type, json_length)


async def _infer(context: InferContext) -> Response:
    json_length = context.request.headers.get("inference-header-content-length")
    return await infer(context, partial(_parse, json_length), _write)


@router.post("/models/{name}/infer", response_class=Response, openapi_extra=INFER, responses=INFER_ANSWERS)
async def infer_model(name: str, request: Request, services: ServicesDep, request_id: RequestIdDep) -> Response:
    """Read a batch by the version that serves: pixels, floats or encoded images as a tensor."""
    return await _infer(InferContext(request, services, request_id, name))


@router.post(
    "/models/{name}/versions/{version}/infer", response_class=Response, openapi_extra=INFER, responses=INFER_ANSWERS
)
async def infer_version(
    name: str, version: str, request: Request, services: ServicesDep, request_id: RequestIdDep
) -> Response:
    """Read a batch by the version that is named."""
    return await _infer(InferContext(request, services, request_id, name, version))


PLATFORM = "glyphserve_npz"
_MOST_IN_ALL = 1000
_EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]


def manifest_of(services: Services, model: str, version: str | None, alias: str | None = None) -> Manifest:
    """Read what is known of the version that an address names. Raises NotFound, CorruptModel or Unavailable."""
    try:
        if version is not None:
            return services.registry.manifest(model, parsed_version(version))
        if model == services.settings.model and alias is None:
            return services.registry.manifest(model, services.predictor.serving.version)
        return services.registry.manifest(
            model, services.registry.alias(model, alias or services.settings.alias).version
        )
    except UnprocessableContent:  # no name of a model or of an alias
        raise NotFound("there is no model of that name, or no such alias of it; GET /models lists both") from None


def all_versions(services: Services) -> list[tuple[str, int]]:
    """List the newest versions of each model: the protocol has no pages, so there is a limit to how many in all."""
    numbers = ((name, number) for name in services.registry.models() for number in _numbers(services, name))
    return list(islice(numbers, _MOST_IN_ALL))


@router.get("")
async def server(request: Request) -> ServerMetadata:
    """Tell what serves, and which extensions it knows."""
    return ServerMetadata(name="glyphserve", version=request.app.version, extensions=_EXTENSIONS)


@router.get("/health/live")
async def live() -> Live:
    """Tell that the event loop turns."""
    return Live(live=True)


@router.get("/health/ready")
async def ready(services: ServicesDep) -> Ready:
    """Tell that a verified model serves (503 otherwise)."""
    await health.ready(services)
    return Ready(ready=True, live=True)


@router.get("/models")
def list_models(services: ServicesDep) -> ModelNames:
    """List all models."""
    return ModelNames(models=services.registry.models())


@router.get("/models/stats")
def all_statistics(services: ServicesDep) -> ModelStatistics:
    """Give the statistics of the newest 100 versions of each model, of 1,000 in all."""
    return _statistics(services, all_versions(services))


@router.get("/models/{name}")
def model_metadata(name: str, services: ServicesDep) -> ModelMetadata:
    """Tell what a model takes and answers."""
    return _metadata(services, manifest_of(services, name, None))


@router.get("/models/{name}/versions/{version}")
def version_metadata(name: str, version: str, services: ServicesDep) -> ModelMetadata:
    """Tell what a version takes and answers."""
    return _metadata(services, manifest_of(services, name, version))


@router.get("/models/{name}/ready")
def model_ready(name: str, services: ServicesDep) -> ModelReady:
    """Tell that a model can answer; one that is not in memory is loaded and verified for it (503 when that fails)."""
    return ModelReady(name=load_model(services, name).model, ready=True)


@router.get("/models/{name}/versions/{version}/ready")
def version_ready(name: str, version: str, services: ServicesDep) -> ModelReady:
    """Tell that a version can answer; one that is not in memory is loaded and verified for it (503 when that fails)."""
    return ModelReady(name=load_model(services, name, version).model, ready=True)


@router.get("/models/{name}/config")
def model_config(name: str, services: ServicesDep) -> ModelConfig:
    """Give a model's configuration as far as generic clients of Triton ask for it."""
    return _config(services, manifest_of(services, name, None))


@router.get("/models/{name}/versions/{version}/config")
def version_config(name: str, version: str, services: ServicesDep) -> ModelConfig:
    """Give a version's configuration as far as generic clients of Triton ask for it."""
    return _config(services, manifest_of(services, name, version))


@router.get("/models/{name}/stats")
def model_statistics(name: str, services: ServicesDep) -> ModelStatistics:
    """Give the statistics of a model's newest 100 versions."""
    return _statistics(services, [(name, number) for number in _numbers(services, name)])


@router.get("/models/{name}/versions/{version}/stats")
def version_statistics(name: str, version: str, services: ServicesDep) -> ModelStatistics:
    """Give the statistics of one version."""
    return _statistics(services, [(name, manifest_of(services, name, version).version)])


def _numbers(services: Services, name: str) -> list[int]:
    try:
        return services.registry.version_numbers(name)
    except UnprocessableContent:
        raise NotFound("there is no model of that name; GET /models lists the models") from None


def _statistics(services: Services, versions: list[tuple[str, int]]) -> ModelStatistics:
    return ModelStatistics(model_stats=[services.statistics.get(name, number) for name, number in versions])


def _metadata(services: Services, manifest: Manifest) -> ModelMetadata:
    described: dict[str, Any] = {"inputs": [describe_input()], "outputs": describe_outputs(len(manifest.labels))}
    versions = [str(number) for number in services.registry.version_numbers(manifest.name)]
    return ModelMetadata(name=manifest.name, versions=versions, platform=PLATFORM, **described)


def _config(services: Services, manifest: Manifest) -> ModelConfig:
    def in_words(tensor: dict[str, Any]) -> dict[str, Any]:
        kind = "STRING" if tensor["datatype"] == "BYTES" else tensor["datatype"]
        return {"name": tensor["name"], "data_type": f"TYPE_{kind}", "dims": tensor["shape"][1:] or [1]}

    return ModelConfig(
        name=manifest.name,
        platform=PLATFORM,
        backend="numpy",
        max_batch_size=services.settings.max_tensor_rows,
        input=[in_words(describe_input())],
        output=[in_words(output) for output in describe_outputs(len(manifest.labels))],
    )
