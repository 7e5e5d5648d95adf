"""Inference protocol V1: predict, classify, explain and metadata, as in KServe and TensorFlow Serving's REST API.

A model is named alone, with a version (`/versions/{number}`) or with an alias of this service (`/labels/{alias}`).
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor

from service.api.dependencies import RequestIdDep, ServicesDep
from service.api.routes import protocol_openapi
from service.api.routes.page import page
from service.api.routes.protocol_handler import EncodedResponse, InferContext, InferResult, infer, load_model
from service.api.routes.v2 import manifest_of
from service.errors import CorruptModel
from service.inference.explain import explain as explain_answers
from service.inference.model_input import INPUT, describe_input
from service.inference.model_output import describe_outputs, rank_classes
from service.inference.schemas import Alive, ModelNames, ModelStatus, TFServingMetadata, VersionStatus
from service.inference.tensorflow_rest import SIGNATURE, TFServingRequest, read_request
from service.registry.manifest import Manifest
from service.services import Services

router = APIRouter(tags=["inference V1"])

_ANSWERED_AS = {"instances": "predictions", "inputs": "outputs"}


def _predictions(message: TFServingRequest, result: InferResult) -> EncodedResponse:
    return _json({_ANSWERED_AS[message.form]: result.probabilities})


def _classes(_: TFServingRequest, result: InferResult) -> EncodedResponse:
    labels = result.snapshot.labels
    order = rank_classes(result.probabilities)
    values = np.take_along_axis(result.probabilities, order, axis=1)
    rows = zip(order.tolist(), values.tolist(), strict=True)
    return _json({"result": [[[labels[place], value] for place, value in zip(*row, strict=True)] for row in rows]})


def _explanations(_: TFServingRequest, result: InferResult) -> EncodedResponse:
    classes = result.probabilities.argmax(axis=1).tolist()
    explanations = explain_answers(result.snapshot, result.batch.glyphs, classes)
    return _json(
        {"predictions": result.probabilities, "explanations": [explanation.to_json() for explanation in explanations]}
    )


def _json(content: dict[str, Any]) -> EncodedResponse:
    return EncodedResponse(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY))


def _max_values(context: InferContext) -> int:
    return context.services.settings.max_tensor_rows


async def _predict(context: InferContext) -> Response:
    return await infer(context, partial(read_request, input_name=INPUT, max_values=_max_values(context)), _predictions)


async def _classify(context: InferContext) -> Response:
    parse = partial(read_request, input_name=INPUT, max_values=_max_values(context), forms=("examples", "instances"))
    return await infer(context, parse, _classes)


async def _explain(context: InferContext) -> Response:
    limit = context.services.settings.max_batch_images
    parse = partial(read_request, input_name=INPUT, max_values=limit, forms=("instances",))
    return await infer(context, parse, _explanations, force_thread=True)


def _serve(verb: str, summary: str, answer: Callable[[InferContext], Awaitable[Response]], **described: Any) -> None:
    """Add the three addresses of a verb."""

    async def of_model(name: str, request: Request, services: ServicesDep, request_id: RequestIdDep) -> Response:
        return await answer(InferContext(request, services, request_id, name))

    async def of_version(
        name: str, version: str, request: Request, services: ServicesDep, request_id: RequestIdDep
    ) -> Response:
        return await answer(InferContext(request, services, request_id, name, version))

    async def of_alias(
        name: str, alias: str, request: Request, services: ServicesDep, request_id: RequestIdDep
    ) -> Response:
        return await answer(InferContext(request, services, request_id, name, alias=alias))

    for path, endpoint, who in (
        ("/{name}", of_model, "the version that serves"),
        ("/{name}/versions/{version}", of_version, "a version"),
        ("/{name}/labels/{alias}", of_alias, "the version that an alias means"),
    ):
        router.add_api_route(
            f"/v1/models{path}:{verb}",
            endpoint,
            methods=["POST"],
            name=f"{verb}_{endpoint.__name__}",
            response_class=Response,
            description=f"{summary}, by {who}.",
            **described,
        )


_serve(
    "predict",
    "Give the probabilities of each image",
    _predict,
    openapi_extra=protocol_openapi.PREDICT,
    responses=protocol_openapi.PREDICT_ANSWERS,
)
_serve(
    "classify",
    "Give the labels of each image, the most probable first",
    _classify,
    openapi_extra=protocol_openapi.CLASSIFY,
    responses=protocol_openapi.CLASSIFY_ANSWERS,
)
_serve(
    "explain",
    "Give the probabilities, and which pixels made them",
    _explain,
    openapi_extra=protocol_openapi.EXPLAIN,
    responses=protocol_openapi.EXPLAIN_ANSWERS,
)


class NoVerbConvertor(StringConvertor):
    """The last part of an address that has no verb: `GET …:predict` is a wrong method, not an unknown model."""

    regex = "[^/:]+"


register_url_convertor("without_verb", NoVerbConvertor())


_DTYPES = {"UINT8": "DT_UINT8", "FP32": "DT_FLOAT", "BYTES": "DT_STRING"}
_PAGE: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {}}}}


@router.get("/", response_model=Alive, responses=_PAGE)
async def alive(request: Request) -> Any:
    """Tell KServe's client that the service is there; a browser gets the page."""
    if "text/html" in request.headers.get("accept", ""):
        return page(request)
    return Alive(status="alive")


@router.get("/v1/models")
def list_models(services: ServicesDep) -> ModelNames:
    """List all models."""
    return ModelNames(models=services.registry.models())


@router.get("/v1/models/{name:without_verb}")
def model_status(name: str, services: ServicesDep) -> ModelStatus:
    """Tell which versions can be asked for: the one that serves (503 when there is none), then the newest 100."""
    serving = load_model(services, name).version
    numbers = sorted(
        {serving, *services.registry.version_numbers(name)}, key=lambda number: (number != serving, -number)
    )
    return ModelStatus(
        name=name, ready=True, model_version_status=[_status(services, name, number) for number in numbers]
    )


@router.get("/v1/models/{name}/versions/{version:without_verb}")
def version_status(name: str, version: str, services: ServicesDep) -> ModelStatus:
    """Tell that a version can be asked for (503 when it is damaged)."""
    return ModelStatus(
        name=name, ready=True, model_version_status=[_available(load_model(services, name, version).version)]
    )


@router.get("/v1/models/{name}/labels/{alias:without_verb}")
def alias_status(name: str, alias: str, services: ServicesDep) -> ModelStatus:
    """Tell that the version that an alias means can be asked for (503 when it is damaged)."""
    number = load_model(services, name, alias=alias).version
    return ModelStatus(name=name, ready=True, model_version_status=[_available(number)])


@router.get("/v1/models/{name}/metadata")
def model_metadata(name: str, services: ServicesDep) -> TFServingMetadata:
    """Tell what a model takes and answers."""
    return _metadata(manifest_of(services, name, None))


@router.get("/v1/models/{name}/versions/{version}/metadata")
def version_metadata(name: str, version: str, services: ServicesDep) -> TFServingMetadata:
    """Tell what a version takes and answers."""
    return _metadata(manifest_of(services, name, version))


@router.get("/v1/models/{name}/labels/{alias}/metadata")
def alias_metadata(name: str, alias: str, services: ServicesDep) -> TFServingMetadata:
    """Tell what the version that an alias means takes and answers."""
    return _metadata(manifest_of(services, name, None, alias))


def _status(services: Services, name: str, number: int) -> VersionStatus:
    try:
        services.registry.manifest(name, number)
    except CorruptModel as error:
        return _version(number, "END", "DATA_LOSS", error.detail)
    return _available(number)


def _available(number: int) -> VersionStatus:
    return _version(number, "AVAILABLE", "OK", "")


def _version(number: int, state: str, code: str, message: str) -> VersionStatus:
    return VersionStatus.model_validate(
        {"version": str(number), "state": state, "status": {"error_code": code, "error_message": message}}
    )


def _metadata(manifest: Manifest) -> TFServingMetadata:
    inputs, outputs = [describe_input()], describe_outputs(len(manifest.labels))[:1]
    signature = {
        "inputs": {tensor["name"]: _tensor(tensor) for tensor in inputs},
        "outputs": {tensor["name"]: _tensor(tensor) for tensor in outputs},
        "method_name": "tensorflow/serving/predict",
    }
    return TFServingMetadata.model_validate(
        {
            "model_spec": {"name": manifest.name, "signature_name": "", "version": str(manifest.version)},
            "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
        }
    )


def _tensor(tensor: dict[str, Any]) -> dict[str, Any]:
    dimensions = [{"size": str(size), "name": ""} for size in tensor["shape"]]
    shape = {"dim": dimensions, "unknown_rank": False}
    return {"name": tensor["name"], "dtype": _DTYPES[tensor["datatype"]], "tensor_shape": shape}
