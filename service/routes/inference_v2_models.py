"""What the Open Inference Protocol V2 tells of the server and its models, and Triton's extensions: configuration and
statistics.
"""

from itertools import islice
from typing import Any

from fastapi import APIRouter, Request

from service.dependencies import PartsDep
from service.errors import InvalidInput, NotFound
from service.inference.model_input import describe_input
from service.inference.model_output import describe_outputs
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
from service.parts import Parts
from service.registry.manifest import Manifest
from service.routes import health
from service.routes.inferring import find, parsed_version

router = APIRouter(prefix="/v2", tags=["inference V2"])

PLATFORM = "glyphserve_npz"
_MOST_IN_ALL = 1000
_EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]


def manifest_of(parts: Parts, model: str, version: str | None, alias: str | None = None) -> Manifest:
    """Read what is known of the version that an address names. Raises NotFound, CorruptModel or Unavailable."""
    try:
        if version is not None:
            return parts.registry.manifest(model, parsed_version(version))
        if model == parts.settings.model and alias is None:
            return parts.registry.manifest(model, parts.predictor.serving.version)
        return parts.registry.manifest(model, parts.registry.alias(model, alias or parts.settings.alias).version)
    except InvalidInput:  # no name of a model or of an alias
        raise NotFound("there is no model of that name, or no such alias of it; GET /models lists both") from None


def all_versions(parts: Parts) -> list[tuple[str, int]]:
    """List the newest versions of each model: the protocol has no pages, so there is a limit to how many in all."""
    numbers = ((name, number) for name in parts.registry.models() for number in _numbers(parts, name))
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
async def ready(parts: PartsDep) -> Ready:
    """Tell that a verified model serves (503 otherwise)."""
    await health.ready(parts)
    return Ready(ready=True, live=True)


@router.get("/models")
def list_models(parts: PartsDep) -> ModelNames:
    """List all models."""
    return ModelNames(models=parts.registry.models())


@router.get("/models/stats")
def all_statistics(parts: PartsDep) -> ModelStatistics:
    """Give the statistics of the newest 100 versions of each model, of 1,000 in all."""
    return _statistics(parts, all_versions(parts))


@router.get("/models/{name}")
def model_metadata(name: str, parts: PartsDep) -> ModelMetadata:
    """Tell what a model takes and answers."""
    return _metadata(parts, manifest_of(parts, name, None))


@router.get("/models/{name}/versions/{version}")
def version_metadata(name: str, version: str, parts: PartsDep) -> ModelMetadata:
    """Tell what a version takes and answers."""
    return _metadata(parts, manifest_of(parts, name, version))


@router.get("/models/{name}/ready")
def model_ready(name: str, parts: PartsDep) -> ModelReady:
    """Tell that a model can answer; one that is not in memory is loaded and verified for it (503 when that fails)."""
    return ModelReady(name=find(parts, name).model, ready=True)


@router.get("/models/{name}/versions/{version}/ready")
def version_ready(name: str, version: str, parts: PartsDep) -> ModelReady:
    """Tell that a version can answer; one that is not in memory is loaded and verified for it (503 when that fails)."""
    return ModelReady(name=find(parts, name, version).model, ready=True)


@router.get("/models/{name}/config")
def model_config(name: str, parts: PartsDep) -> ModelConfig:
    """Give a model's configuration as far as generic clients of Triton ask for it."""
    return _config(parts, manifest_of(parts, name, None))


@router.get("/models/{name}/versions/{version}/config")
def version_config(name: str, version: str, parts: PartsDep) -> ModelConfig:
    """Give a version's configuration as far as generic clients of Triton ask for it."""
    return _config(parts, manifest_of(parts, name, version))


@router.get("/models/{name}/stats")
def model_statistics(name: str, parts: PartsDep) -> ModelStatistics:
    """Give the statistics of a model's newest 100 versions."""
    return _statistics(parts, [(name, number) for number in _numbers(parts, name)])


@router.get("/models/{name}/versions/{version}/stats")
def version_statistics(name: str, version: str, parts: PartsDep) -> ModelStatistics:
    """Give the statistics of one version."""
    return _statistics(parts, [(name, manifest_of(parts, name, version).version)])


def _numbers(parts: Parts, name: str) -> list[int]:
    try:
        return parts.registry.version_numbers(name)
    except InvalidInput:
        raise NotFound("there is no model of that name; GET /models lists the models") from None


def _statistics(parts: Parts, versions: list[tuple[str, int]]) -> ModelStatistics:
    return ModelStatistics(model_stats=[parts.statistics.of(name, number) for name, number in versions])


def _metadata(parts: Parts, manifest: Manifest) -> ModelMetadata:
    described: dict[str, Any] = {"inputs": [describe_input()], "outputs": describe_outputs(len(manifest.labels))}
    versions = [str(number) for number in parts.registry.version_numbers(manifest.name)]
    return ModelMetadata(name=manifest.name, versions=versions, platform=PLATFORM, **described)


def _config(parts: Parts, manifest: Manifest) -> ModelConfig:
    def in_words(tensor: dict[str, Any]) -> dict[str, Any]:
        kind = "STRING" if tensor["datatype"] == "BYTES" else tensor["datatype"]
        return {"name": tensor["name"], "data_type": f"TYPE_{kind}", "dims": tensor["shape"][1:] or [1]}

    return ModelConfig(
        name=manifest.name,
        platform=PLATFORM,
        backend="numpy",
        max_batch_size=parts.settings.max_tensor_rows,
        input=[in_words(describe_input())],
        output=[in_words(output) for output in describe_outputs(len(manifest.labels))],
    )
