"""The forms of `POST /predict` as OpenAPI tells them; `forms` reads what is described here."""

from typing import Any

from training.vision.input_spec import IMAGE_SIZE

_ONE = [
    [255 if 4 <= row < 24 and column in (13, 14) else 0 for column in range(IMAGE_SIZE)] for row in range(IMAGE_SIZE)
]
_ONE_AS_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAABwAAAAcCAAAAABXZoBIAAAAGUlEQVR42mNgGGjw/z8Klwmf2lHJUcmBAwCNaAIlq35pDgAAAABJRU5ErkJggg=="
)
_BINARY = {"type": "string", "format": "binary"}
_ENCODED = {
    "type": "string",
    "format": "byte",
    "description": "A PNG, JPEG, BMP, GIF or WEBP image in base64; may be a data: URL.",
}


def _lists(item: dict[str, Any]) -> list[dict[str, Any]]:
    def exactly(count: int, items: dict[str, Any]) -> dict[str, Any]:
        return {"type": "array", "minItems": count, "maxItems": count, "items": items}

    return [exactly(IMAGE_SIZE, exactly(IMAGE_SIZE, item)), exactly(IMAGE_SIZE * IMAGE_SIZE, item)]


_PIXELS = {
    "description": "28 rows of 28 numbers, or 784 in a row; 0 is paper. Whole numbers go from 0 to 255; "
    "if any has a decimal point, all go from 0 to 1.",
    "anyOf": [
        *_lists({"type": "integer", "minimum": 0, "maximum": 255}),
        *_lists({"type": "number", "minimum": 0, "maximum": 1}),
    ],
}


def _only(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"title": name, "type": "object", "required": [name], "properties": {name: schema}}


_JSON = {
    "schema": {
        "description": "Exactly one of these.",
        "oneOf": [
            _only("image", _ENCODED),
            _only("pixels", _PIXELS),
            _only("images", {"type": "array", "minItems": 1, "items": _ENCODED}),
            _only("instances", {"type": "array", "minItems": 1, "items": _PIXELS}),
        ],
    },
    "examples": {
        "image": {"summary": "an image in base64", "value": {"image": _ONE_AS_PNG}},
        "pixels": {"summary": "28×28 gray values", "value": {"pixels": _ONE}},
        "images": {"summary": "several images", "value": {"images": [_ONE_AS_PNG, _ONE_AS_PNG]}},
        "instances": {"summary": "several times 28×28 gray values", "value": {"instances": [_ONE]}},
    },
}
_FORM = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {
                "type": "array",
                "minItems": 1,
                "items": _BINARY,
                "description": "One image file, or several; several are answered by a list.",
            }
        },
    }
}

OPENAPI: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "May be compressed, as Content-Encoding says: gzip or deflate.",
        "content": {
            "multipart/form-data": _FORM,
            "application/json": _JSON,
            **{f"image/{kind}": {"schema": _BINARY} for kind in ("png", "jpeg", "bmp", "gif", "webp")},
            "application/octet-stream": {"schema": _BINARY},
        },
    }
}
