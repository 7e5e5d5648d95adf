"""What inference protocol V1 tells of the models; and `GET /`, by which KServe's client asks for a sign of life."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.convertors import StringConvertor, register_url_convertor

from service.dependencies import PartsDep
from service.errors import CorruptModel
from service.inference.model_input import describe_input
from service.inference.model_output import describe_outputs
from service.inference.schemas import Alive, ModelNames, ModelStatus, RestMetadata, VersionStatus
from service.inference.tensorflow_rest import SIGNATURE
from service.parts import Parts
from service.registry.manifest import Manifest
from service.routes.inference_v2_models import manifest_of
from service.routes.inferring import find
from service.routes.page import page


class _WithoutVerb(StringConvertor):
    """The last part of an address that has no verb: `GET …:predict` is a wrong method, not an unknown model."""

    regex = "[^/:]+"


register_url_convertor("without_verb", _WithoutVerb())

router = APIRouter(tags=["inference V1"])

_DTYPES = {"UINT8": "DT_UINT8", "FP32": "DT_FLOAT", "BYTES": "DT_STRING"}
_PAGE: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {}}}}


@router.get("/", response_model=Alive, responses=_PAGE)
async def alive(request: Request) -> Any:
    """Tell KServe's client that the service is there; a browser gets the page."""
    if "text/html" in request.headers.get("accept", ""):
        return page(request)
    return Alive(status="alive")


@router.get("/v1/models")
def list_models(parts: PartsDep) -> ModelNames:
    """List all models."""
    return ModelNames(models=parts.registry.models())


@router.get("/v1/models/{name:without_verb}")
def model_status(name: str, parts: PartsDep) -> ModelStatus:
    """Tell which versions can be asked for: the one that serves (503 when there is none), then the newest 100."""
    serving = find(parts, name).version
    numbers = sorted({serving, *parts.registry.version_numbers(name)}, key=lambda number: (number != serving, -number))
    return ModelStatus(name=name, ready=True, model_version_status=[_status(parts, name, number) for number in numbers])


@router.get("/v1/models/{name}/versions/{version:without_verb}")
def version_status(name: str, version: str, parts: PartsDep) -> ModelStatus:
    """Tell that a version can be asked for (503 when it is damaged)."""
    return ModelStatus(name=name, ready=True, model_version_status=[_available(find(parts, name, version).version)])


@router.get("/v1/models/{name}/labels/{alias:without_verb}")
def alias_status(name: str, alias: str, parts: PartsDep) -> ModelStatus:
    """Tell that the version that an alias means can be asked for (503 when it is damaged)."""
    number = find(parts, name, alias=alias).version
    return ModelStatus(name=name, ready=True, model_version_status=[_available(number)])


@router.get("/v1/models/{name}/metadata")
def model_metadata(name: str, parts: PartsDep) -> RestMetadata:
    """Tell what a model takes and answers."""
    return _metadata(manifest_of(parts, name, None))


@router.get("/v1/models/{name}/versions/{version}/metadata")
def version_metadata(name: str, version: str, parts: PartsDep) -> RestMetadata:
    """Tell what a version takes and answers."""
    return _metadata(manifest_of(parts, name, version))


@router.get("/v1/models/{name}/labels/{alias}/metadata")
def alias_metadata(name: str, alias: str, parts: PartsDep) -> RestMetadata:
    """Tell what the version that an alias means takes and answers."""
    return _metadata(manifest_of(parts, name, None, alias))


def _status(parts: Parts, name: str, number: int) -> VersionStatus:
    try:
        parts.registry.manifest(name, number)
    except CorruptModel as error:
        return _version(number, "END", "DATA_LOSS", error.detail)
    return _available(number)


def _available(number: int) -> VersionStatus:
    return _version(number, "AVAILABLE", "OK", "")


def _version(number: int, state: str, code: str, message: str) -> VersionStatus:
    return VersionStatus.model_validate(
        {"version": str(number), "state": state, "status": {"error_code": code, "error_message": message}}
    )


def _metadata(manifest: Manifest) -> RestMetadata:
    inputs, outputs = [describe_input()], describe_outputs(len(manifest.labels))[:1]
    signature = {
        "inputs": {tensor["name"]: _tensor(tensor) for tensor in inputs},
        "outputs": {tensor["name"]: _tensor(tensor) for tensor in outputs},
        "method_name": "tensorflow/serving/predict",
    }
    return RestMetadata.model_validate(
        {
            "model_spec": {"name": manifest.name, "signature_name": "", "version": str(manifest.version)},
            "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
        }
    )


def _tensor(tensor: dict[str, Any]) -> dict[str, Any]:
    dimensions = [{"size": str(size), "name": ""} for size in tensor["shape"]]
    shape = {"dim": dimensions, "unknown_rank": False}
    return {"name": tensor["name"], "dtype": _DTYPES[tensor["datatype"]], "tensor_shape": shape}
