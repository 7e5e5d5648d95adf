"""Requests of inference protocol V1: TensorFlow Serving's REST API and KServe.

    {"instances": [value, …]}    row format; the response is {"predictions": [row, …]}
    {"inputs": [value, …]}       column format; the response is {"outputs": [row, …]}
    {"examples": [value, …]}     for the classify API

A value is a list of pixels, `{"b64": "…"}` for an encoded image, or either under the name of the input:
`{"image": …}`. This module does not depend on HTTP or the model.

https://github.com/tensorflow/serving/blob/master/tensorflow/serving/g3doc/api_rest.md
"""

from dataclasses import dataclass
from typing import Any

import orjson

from service.errors import InvalidTensor, MalformedRequest, PayloadTooLarge
from service.inference.images import decode_base64
from service.inference.tensors import Tensor, flatten, from_json_values

SIGNATURE = "serving_default"

_FORMS = ("instances", "inputs")


@dataclass(frozen=True)
class TFServingRequest:
    """A parsed request."""

    form: str
    """The key of the values."""
    tensor: Tensor

    @property
    def inputs(self) -> list[Tensor]:
        """The only input."""
        return [self.tensor]


def read_request(body: bytes, input_name: str, max_values: int, forms: tuple[str, ...] = _FORMS) -> TFServingRequest:
    """Parse a request of at most `max_values` values.

    Raises MalformedRequest for invalid JSON, PayloadTooLarge for more values, InvalidTensor for everything else.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error.msg}") from None
    given = [form for form in forms if isinstance(content, dict) and content.get(form) is not None]
    if len(given) != 1:
        raise InvalidTensor(f"the body must be an object with exactly one of {', '.join(forms)}")
    if content.get("signature_name") not in (None, "", SIGNATURE):
        raise InvalidTensor(f"the only signature is {SIGNATURE}", field="signature_name")
    (form,) = given
    values = content[form]
    if form == "inputs" and isinstance(values, dict):
        values = _unwrap(values)
    if not isinstance(values, list) or not values:
        raise InvalidTensor(f"`{form}` must be a list of at least one value", field=form)
    if len(values) > max_values:
        raise PayloadTooLarge(f"the batch has {len(values):,} values; the limit is {max_values:,}")
    if form != "inputs":
        values = [_unwrap(value) for value in values]
    return TFServingRequest(form, _tensor(input_name, values))


def _unwrap(value: Any) -> Any:
    """Unwrap `{"image": value}`. The model has one input, so any name is accepted."""
    if isinstance(value, dict) and len(value) == 1 and "b64" not in value:
        return next(iter(value.values()))
    return value


def _tensor(name: str, values: list[Any]) -> Tensor:
    if all(isinstance(value, dict) for value in values):
        return Tensor(name, "BYTES", (len(values),), [_decode(value) for value in values])
    flat, shape = flatten(values)
    datatype = "INT64" if set(map(type, flat)) <= {int} else "FP32"
    return from_json_values(name, datatype, shape, flat)


def _decode(value: dict[str, Any]) -> bytes:
    if value.keys() != {"b64"} or not isinstance(value["b64"], str):
        raise InvalidTensor('a binary value must be {"b64": "…"}', field="b64")
    try:
        return decode_base64(value["b64"])
    except ValueError as error:
        raise InvalidTensor(f"`b64` {error}", field="b64") from None
