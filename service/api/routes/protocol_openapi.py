"""The bodies of the inference protocols as OpenAPI tells them: they are read by hand, since they may be binary."""

from typing import Any

from service.inference.model_input import INPUT
from service.inference.model_output import OUTPUTS
from service.inference.tensors import DATATYPES, MAX_DIMENSIONS
from training.vision.input_spec import IMAGE_SIZE

_ONE = [
    [255 if 4 <= row < 24 and column in (13, 14) else 0 for column in range(IMAGE_SIZE)] for row in range(IMAGE_SIZE)
]
_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAABwAAAAcCAAAAABXZoBIAAAAGUlEQVR42mNgGGjw/z8Klwmf2lHJUcmBAwCNaAIlq35pDgAAAABJRU5ErkJggg=="
)
_PARAMETERS = {"type": ["object", "null"], "additionalProperties": True}
_NUMBER = {"type": "number"}
_PIXEL = {"type": "integer", "minimum": 0, "maximum": 255}
_FLOAT = {"type": "number", "minimum": 0, "maximum": 1}


def _exactly(count: int, items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": count, "maxItems": count, "items": items}


_GRID = _exactly(IMAGE_SIZE, _exactly(IMAGE_SIZE, _NUMBER))
_BINARY = {"type": "string", "format": "binary"}
_BASE64 = {
    "type": "object",
    "required": ["b64"],
    "additionalProperties": False,
    "properties": {"b64": {"type": "string", "format": "byte", "description": "An encoded image."}},
}
_INPUT = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string", "examples": [INPUT]},
        "datatype": {"enum": ["BYTES", *DATATYPES]},
        "shape": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_DIMENSIONS,
            "items": {"type": "integer", "minimum": 1},
            "description": f"[n, {IMAGE_SIZE}, {IMAGE_SIZE}] or [n, {IMAGE_SIZE * IMAGE_SIZE}]; [n] for BYTES.",
        },
        "data": {
            "type": "array",
            "description": "Flat or nested, row-major: pixels from 0 to 255, floats as the network takes them, "
            "BYTES as base64 text of image files. Without it, `parameters.binary_data_size` must tell the size.",
        },
        "parameters": {
            "type": ["object", "null"],
            "properties": {"binary_data_size": {"type": "integer", "minimum": 0}},
        },
    },
    "anyOf": [{"required": ["data"]}, {"required": ["parameters"]}],
}
_OUTPUT = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"enum": list(OUTPUTS)},
        "parameters": {
            "type": "object",
            "properties": {
                "binary_data": {"type": "boolean"},
                "classification": {"type": "integer", "minimum": 0, "description": "So many of `value:index:label`."},
            },
        },
    },
}
_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": ["string", "null"], "description": "Comes back in the answer."},
        "parameters": _PARAMETERS,
        "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": _INPUT},
        "outputs": {"type": ["array", "null"], "items": _OUTPUT, "description": "All, when there are none."},
    },
}
_JSON_LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "schema": {"type": "integer", "minimum": 0},
    "description": "Bytes of JSON at the beginning of the body, binary tensors follow; 0: the body is the pixels of "
    "one image. Without it all of the body is JSON, whatever the Content-Type.",
}

_COMPRESSED = "May be compressed, as Content-Encoding says: gzip or deflate."


def _example(datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"value": {"inputs": [{"name": INPUT, "datatype": datatype, "shape": shape, "data": data}]}}


INFER: dict[str, Any] = {
    "parameters": [_JSON_LENGTH],
    "requestBody": {
        "required": True,
        "description": f"{_COMPRESSED} Inference-Header-Content-Length counts it decompressed.",
        "content": {
            "application/json": {
                "schema": _REQUEST,
                "examples": {
                    "pixels": _example("UINT8", [1, IMAGE_SIZE, IMAGE_SIZE], [_ONE]),
                    "an image": _example("BYTES", [1], [_PNG]),
                },
            },
            "application/octet-stream": {"schema": _BINARY},
        },
    },
}

_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"enum": list(OUTPUTS)},
        "datatype": {"enum": ["FP32", "BYTES"]},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "data": {"type": "array", "items": {"type": ["number", "string"]}},
        "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer"}}},
    },
}
INFER_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The outputs",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["model_name", "model_version", "outputs"],
                    "properties": {
                        "model_name": {"type": "string"},
                        "model_version": {"type": "string"},
                        "id": {"type": "string"},
                        "outputs": {"type": "array", "items": _TENSOR},
                    },
                }
            },
            "application/octet-stream": {"schema": _BINARY},
        },
    }
}

_KINDS = [
    *(_exactly(IMAGE_SIZE, _exactly(IMAGE_SIZE, item)) for item in (_PIXEL, _FLOAT)),
    *(_exactly(IMAGE_SIZE * IMAGE_SIZE, item) for item in (_PIXEL, _FLOAT)),
    _BASE64,
]


def _named(kind: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [INPUT], "additionalProperties": False, "properties": {INPUT: kind}}


_VALUES = {
    "anyOf": [
        {"type": "array", "minItems": 1, "items": items} for items in (*_KINDS, *(_named(kind) for kind in _KINDS))
    ],
    "description": "28 rows of 28 or 784 in a row for each image: whole numbers from 0 to 255, or, with a decimal "
    "point in any of them, from 0 to 1 (for the released models); or image files in base64. All of one kind.",
}
_SIGNATURE = {"type": "string", "enum": ["serving_default", ""]}


def _body(*forms: str) -> dict[str, Any]:
    choices = [
        {
            "title": form,
            "type": "object",
            "required": [form],
            "properties": {form: _VALUES, "signature_name": _SIGNATURE},
        }
        for form in forms
    ]
    examples = {form: {"value": {form: [_ONE]}} for form in forms}
    schema = {"oneOf": choices, "description": "Exactly one of these."}
    content = {"application/json": {"schema": schema, "examples": examples}}
    return {"requestBody": {"required": True, "content": content, "description": _COMPRESSED}}


PREDICT, CLASSIFY, EXPLAIN = _body("instances", "inputs"), _body("examples", "instances"), _body("instances")


def _answer(description: str, schema: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": description, "content": {"application/json": {"schema": schema}}}}


_ROWS = {"type": "array", "items": {"type": "array", "items": _NUMBER}}
_EXPLANATION = {
    "type": "object",
    "required": ["label", "image", "saliency", "saliency_image"],
    "properties": {
        "label": {"type": "string"},
        "image": {"type": "string", "format": "byte", "description": "What the network saw: a 28×28 PNG."},
        "saliency": _GRID,
        "saliency_image": {
            "type": "string",
            "format": "byte",
            "description": "The same as a PNG: red for, blue against.",
        },
    },
}
_PAIR = {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": ["string", "number"]}}
PREDICT_ANSWERS = _answer(
    "The probabilities of each image, under `predictions` for `instances`, under `outputs` for `inputs`",
    {"type": "object", "properties": {"predictions": _ROWS, "outputs": _ROWS}},
)
CLASSIFY_ANSWERS = _answer(
    "[label, probability] of every class, the most probable first, for each image",
    {
        "type": "object",
        "required": ["result"],
        "properties": {"result": {"type": "array", "items": {"type": "array", "items": _PAIR}}},
    },
)
EXPLAIN_ANSWERS = _answer(
    "The probabilities, and gradient × input for the most probable class of each image",
    {
        "type": "object",
        "required": ["predictions", "explanations"],
        "properties": {"predictions": _ROWS, "explanations": {"type": "array", "items": _EXPLANATION}},
    },
)
