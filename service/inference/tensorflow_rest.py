"""The messages of inference protocol V1, as TensorFlow Serving's REST interface and KServe write them.

    {"instances": [value, …]}    one value an image: answered by {"predictions": [row, …]}
    {"inputs": [value, …]}       the same by column: answered by {"outputs": [row, …]}
    {"examples": [value, …]}     to be classified

A value is pixels in lists, `{"b64": "…"}` for an encoded image, or either under the name of the input:
`{"image": …}`. Nothing here knows HTTP or the model.

https://github.com/tensorflow/serving/blob/master/tensorflow/serving/g3doc/api_rest.md
"""

from dataclasses import dataclass
from typing import Any

import orjson

from service.base64_text import decode_base64
from service.errors import InvalidTensor, MalformedRequest, PayloadTooLarge
from service.inference.tensors import Tensor, flattened, from_elements

SIGNATURE = "serving_default"

_FORMS = ("instances", "inputs")


@dataclass(frozen=True)
class RestRequest:
    """One request."""

    form: str
    """The name under which the values came."""
    tensor: Tensor

    @property
    def inputs(self) -> list[Tensor]:
        """The one input."""
        return [self.tensor]


def read_request(body: bytes, input_name: str, most: int, forms: tuple[str, ...] = _FORMS) -> RestRequest:
    """Read a request of at most so many values.

    Raises MalformedRequest for what is not JSON, PayloadTooLarge for more values, InvalidTensor for everything else.
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
        values = _unnamed(values)
    if not isinstance(values, list) or not values:
        raise InvalidTensor(f"`{form}` must be a list of at least one value", field=form)
    if len(values) > most:
        raise PayloadTooLarge(f"a batch of {len(values):,}; at most {most:,} are taken at once")
    if form != "inputs":
        values = [_unnamed(value) for value in values]
    return RestRequest(form, _tensor(input_name, values))


def _unnamed(value: Any) -> Any:
    """Take a value out of `{"image": value}`: with one input, any name can only mean that one."""
    if isinstance(value, dict) and len(value) == 1 and "b64" not in value:
        return next(iter(value.values()))
    return value


def _tensor(name: str, values: list[Any]) -> Tensor:
    if all(isinstance(value, dict) for value in values):
        return Tensor(name, "BYTES", (len(values),), [_decoded(value) for value in values])
    flat, shape = flattened(values)
    datatype = "INT64" if set(map(type, flat)) <= {int} else "FP32"
    return from_elements(name, datatype, shape, flat)


def _decoded(value: dict[str, Any]) -> bytes:
    if value.keys() != {"b64"} or not isinstance(value["b64"], str):
        raise InvalidTensor('a binary value is {"b64": "…"}', field="b64")
    try:
        return decode_base64(value["b64"])
    except ValueError as error:
        raise InvalidTensor(f"`b64` {error}", field="b64") from None
