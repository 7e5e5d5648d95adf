"""`POST /v2/models/{name}/infer`: tensors in, tensors out, as the Open Inference Protocol V2 says."""

from functools import partial

from fastapi import APIRouter, Request, Response

from service.dependencies import PartsDep, RequestIdDep
from service.inference.model_input import RAW
from service.inference.model_output import OUTPUTS, check_outputs, output_tensor
from service.inference.open_inference import InferRequest, RequestedOutput, read_request, write_answer
from service.routes.inference_docs import INFER, INFER_ANSWERS
from service.routes.inferring import Call, Reading, Written, infer

router = APIRouter(prefix="/v2/models", tags=["inference V2"])


def _parse(json_length: str | None, body: bytes) -> InferRequest:
    message = read_request(body, json_length, RAW)
    check_outputs(message.outputs)
    return message


def _write(message: InferRequest, reading: Reading) -> Written:
    snapshot = reading.snapshot
    names = OUTPUTS[:1] if message.wants_array else OUTPUTS
    asked = message.outputs or [RequestedOutput(name, message.binary, None) for name in names]
    tensors = [(output_tensor(output, reading.probabilities, snapshot.labels), output.binary) for output in asked]
    content, json_length = write_answer(snapshot.model, str(snapshot.version), message.id, tensors)
    media_type = "application/json" if json_length is None else "application/octet-stream"
    return Written(content, media_type, json_length)


async def _infer(call: Call) -> Response:
    json_length = call.request.headers.get("inference-header-content-length")
    return await infer(call, partial(_parse, json_length), _write)


@router.post("/{name}/infer", response_class=Response, openapi_extra=INFER, responses=INFER_ANSWERS)
async def infer_model(name: str, request: Request, parts: PartsDep, request_id: RequestIdDep) -> Response:
    """Read a batch by the version that serves: pixels, floats or encoded images as a tensor."""
    return await _infer(Call(request, parts, request_id, name))


@router.post("/{name}/versions/{version}/infer", response_class=Response, openapi_extra=INFER, responses=INFER_ANSWERS)
async def infer_version(
    name: str, version: str, request: Request, parts: PartsDep, request_id: RequestIdDep
) -> Response:
    """Read a batch by the version that is named."""
    return await _infer(Call(request, parts, request_id, name, version))
