"""Requests and responses of the Open Inference Protocol V2.

A body is JSON. If the header `Inference-Header-Content-Length` gives the length of the JSON, binary tensors follow it.
This module does not depend on HTTP or the model.

https://github.com/open-inference/open-inference-protocol
and Triton's extensions for binary tensors and classification
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from service.errors import InvalidTensor, MalformedRequest
from service.inference.tensors import (
    Tensor,
    from_binary,
    from_json,
    to_binary,
    to_json,
    validate_datatype,
    validate_shape,
)

_MAX_ENTRIES = 100
_LENGTH = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True)
class RequestedOutput:
    """A requested output."""

    name: str
    binary: bool
    classes: int | None
    """Return this number of classifications instead of the tensor."""


@dataclass(frozen=True)
class InferRequest:
    """A parsed request."""

    id: str | None
    inputs: list[Tensor]
    outputs: list[RequestedOutput] | None
    """None for all outputs, each in the form that `binary` selects."""
    binary: bool
    wants_array: bool = False
    """The client decodes the response as one NumPy array: MLServer's codec rejects a second tensor."""


def read_request(body: bytes, json_length: str | None, raw: Tensor) -> InferRequest:
    """Parse a request. `json_length` is the text of the header; without it, the whole body is JSON.

    If it is `0`, there is no JSON: the body is the values of the only input, described by `raw`.
    Raises MalformedRequest for invalid JSON or a wrong length, InvalidTensor for everything else.
    """
    length = len(body)
    if json_length is not None:
        if not _LENGTH.fullmatch(json_length) or int(json_length) > length:
            raise MalformedRequest("Inference-Header-Content-Length must be the length of the JSON in the body")
        length = int(json_length)
        if length == 0:
            values = from_binary(raw.name, raw.datatype, raw.shape, memoryview(body))
            return InferRequest(None, [values], None, binary=True)
    content = _object(body[:length])
    reader = _BinaryReader(memoryview(body)[length:])
    entries = _list(content, "inputs") or []
    inputs = [_input(entry, reader) for entry in entries]
    reader.require_end()
    is_binary = bool(_flag(_parameters(content), "binary_data_output"))
    wants_array = any(_parameters(entry).get("content_type") == "np" for entry in (content, *entries))
    return InferRequest(_id(content), inputs, _outputs(content, is_binary=is_binary), is_binary, wants_array)


class _BinaryReader:
    """Reads the binary part of a body sequentially."""

    def __init__(self, content: memoryview) -> None:
        self._content = content

    def read(self, size: int) -> memoryview:
        if size > len(self._content):
            raise InvalidTensor("the body ends before the binary data of length `binary_data_size`")
        chunk, self._content = self._content[:size], self._content[size:]
        return chunk

    def require_end(self) -> None:
        if len(self._content):
            raise InvalidTensor("the body has more bytes after the last binary tensor")


def read_json(body: bytes) -> dict[str, Any]:
    """Parse a body that is a JSON object or empty. Raises MalformedRequest or InvalidTensor."""
    return _object(body) if body.strip(b" \t\r\n") else {}  # only the whitespace of JSON


def _object(text: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error.msg}") from None
    if not isinstance(content, dict):
        raise InvalidTensor("the body must be a JSON object")
    return content


def _list(content: dict[str, Any], name: str) -> list[dict[str, Any]] | None:
    entries = content.get(name)
    if entries is None:
        return None
    if isinstance(entries, list) and len(entries) > _MAX_ENTRIES:
        raise InvalidTensor(f"`{name}` has {len(entries):,} entries; the limit is {_MAX_ENTRIES}", field=name)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidTensor(f"`{name}` must be a list of objects", field=name)
    return entries


def _id(content: dict[str, Any]) -> str | None:
    given = content.get("id")
    if given is not None and not isinstance(given, str):
        raise InvalidTensor("`id` must be a string", field="id")
    return given


def _name(entry: dict[str, Any]) -> str:
    name = entry.get("name")
    if not isinstance(name, str):
        raise InvalidTensor("every input and output needs a `name`", field="name")
    return name


def _parameters(entry: dict[str, Any]) -> dict[str, Any]:
    parameters = entry.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidTensor("`parameters` must be an object", field="parameters")
    if parameters.get("shared_memory_region") is not None:
        raise InvalidTensor("tensors in shared memory are not supported", field="shared_memory_region")
    return parameters


def _flag(parameters: dict[str, Any], name: str) -> bool | None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidTensor(f"`{name}` must be true or false", field=name)
    return value


def _integer(parameters: dict[str, Any], name: str, minimum: int) -> int | None:
    value = parameters.get(name)
    if value is not None and (type(value) is not int or value < minimum):
        raise InvalidTensor(f"`{name}` must be an integer of at least {minimum}", field=name)
    return value


def _input(entry: dict[str, Any], reader: _BinaryReader) -> Tensor:
    name, datatype, shape = _name(entry), validate_datatype(entry.get("datatype")), validate_shape(entry.get("shape"))
    size = _integer(_parameters(entry), "binary_data_size", 0)
    data = entry.get("data")
    if (size is None) == (data is None):
        raise InvalidTensor("an input needs either `data` or the parameter `binary_data_size`", field="data")
    if size is None:
        return from_json(name, datatype, shape, data)
    return from_binary(name, datatype, shape, reader.read(size))


def _outputs(content: dict[str, Any], *, is_binary: bool) -> list[RequestedOutput] | None:
    outputs = []
    for entry in _list(content, "outputs") or ():
        parameters = _parameters(entry)
        own = _flag(parameters, "binary_data")
        classes = _integer(parameters, "classification", 0) or None
        outputs.append(RequestedOutput(_name(entry), is_binary if own is None else own, classes))
    if len({output.name for output in outputs}) != len(outputs):
        raise InvalidTensor("`outputs` contains an output twice", field="outputs")
    return outputs or None


def write_response(
    model: str, version: str, request_id: str | None, outputs: Sequence[tuple[Tensor, bool]]
) -> tuple[bytes, int | None]:
    """Serialise (tensor, is binary) pairs. Return the body and the length of its JSON, None without binary tensors."""
    entries, chunks = [], []
    for tensor, is_binary in outputs:
        entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if is_binary:
            chunks.append(to_binary(tensor))
            entry["parameters"] = {"binary_data_size": len(chunks[-1])}
        else:
            entry["data"] = to_json(tensor)
        entries.append(entry)
    content: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": entries}
    if request_id is not None:
        content["id"] = request_id
    text = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join((text, *chunks)), len(text)) if chunks else (text, None)
