"""Inference protocol V1: predict, classify and explain as KServe and TensorFlow Serving's REST interface do.

A model is named alone, with a version (`/versions/{number}`) or with an alias of this service (`/labels/{alias}`).
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response

from service.dependencies import PartsDep, RequestIdDep
from service.explain import explain as explain_answers
from service.inference.model_input import INPUT
from service.inference.model_output import ranked
from service.inference.tensorflow_rest import RestRequest, read_request
from service.routes import inference_docs as docs
from service.routes.inferring import Call, Reading, Written, infer

router = APIRouter(prefix="/v1/models", tags=["inference V1"])

_ANSWERED_AS = {"instances": "predictions", "inputs": "outputs"}


def _predictions(message: RestRequest, reading: Reading) -> Written:
    return _json({_ANSWERED_AS[message.form]: reading.probabilities})


def _classes(_: RestRequest, reading: Reading) -> Written:
    labels = reading.snapshot.labels
    order = ranked(reading.probabilities)
    values = np.take_along_axis(reading.probabilities, order, axis=1)
    rows = zip(order.tolist(), values.tolist(), strict=True)
    return _json({"result": [[[labels[place], value] for place, value in zip(*row, strict=True)] for row in rows]})


def _explanations(_: RestRequest, reading: Reading) -> Written:
    classes = reading.probabilities.argmax(axis=1).tolist()
    explanations = explain_answers(reading.snapshot, reading.batch.glyphs, classes)
    return _json(
        {"predictions": reading.probabilities, "explanations": [explanation.to_json() for explanation in explanations]}
    )


def _json(content: dict[str, Any]) -> Written:
    return Written(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY))


def _most(call: Call) -> int:
    return call.parts.settings.max_tensor_rows


async def _predict(call: Call) -> Response:
    return await infer(call, partial(read_request, input_name=INPUT, most=_most(call)), _predictions)


async def _classify(call: Call) -> Response:
    parse = partial(read_request, input_name=INPUT, most=_most(call), forms=("examples", "instances"))
    return await infer(call, parse, _classes)


async def _explain(call: Call) -> Response:
    most = call.parts.settings.max_batch_images
    parse = partial(read_request, input_name=INPUT, most=most, forms=("instances",))
    return await infer(call, parse, _explanations, is_slow=True)


def _serve(verb: str, summary: str, answer: Callable[[Call], Awaitable[Response]], **described: Any) -> None:
    """Add the three addresses of a verb."""

    async def of_model(name: str, request: Request, parts: PartsDep, request_id: RequestIdDep) -> Response:
        return await answer(Call(request, parts, request_id, name))

    async def of_version(
        name: str, version: str, request: Request, parts: PartsDep, request_id: RequestIdDep
    ) -> Response:
        return await answer(Call(request, parts, request_id, name, version))

    async def of_alias(name: str, alias: str, request: Request, parts: PartsDep, request_id: RequestIdDep) -> Response:
        return await answer(Call(request, parts, request_id, name, alias=alias))

    for path, endpoint, who in (
        ("/{name}", of_model, "the version that serves"),
        ("/{name}/versions/{version}", of_version, "a version"),
        ("/{name}/labels/{alias}", of_alias, "the version that an alias means"),
    ):
        router.add_api_route(
            f"{path}:{verb}",
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
    openapi_extra=docs.PREDICT,
    responses=docs.PREDICT_ANSWERS,
)
_serve(
    "classify",
    "Give the labels of each image, the most probable first",
    _classify,
    openapi_extra=docs.CLASSIFY,
    responses=docs.CLASSIFY_ANSWERS,
)
_serve(
    "explain",
    "Give the probabilities, and which pixels made them",
    _explain,
    openapi_extra=docs.EXPLAIN,
    responses=docs.EXPLAIN_ANSWERS,
)
