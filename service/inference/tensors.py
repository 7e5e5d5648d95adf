"""Tensors of the Open Inference Protocol: datatypes, JSON lists and the binary format.

This module does not depend on HTTP or the model. Shapes, sizes and lengths in a request are checked against the data
before memory is allocated for them.

    binary    little-endian, row-major; a BYTES element is its length as UINT32, then its bytes
    JSON      numbers, booleans or strings, row-major, flat or nested
"""

import math
import struct
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidTensor

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""The datatypes of fixed size. BYTES is the only other one."""

MAX_DIMENSIONS = 8

_CHUNK = 32_768

_LENGTH = struct.Struct("<I")
_ALLOWED: dict[str, set[type]] = {"b": {bool}, "u": {int}, "i": {int}, "f": {int, float}}
"""The JSON types of elements, by NumPy kind."""


@dataclass(frozen=True)
class Tensor:
    """A named tensor. BYTES has a list of elements, other datatypes an array of the shape."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: NDArray[Any] | list[bytes]


def validate_shape(shape: Any) -> tuple[int, ...]:
    """Return a shape of one to eight positive integers. Raises InvalidTensor."""
    if not isinstance(shape, list) or not 1 <= len(shape) <= MAX_DIMENSIONS:
        raise InvalidTensor(f"`shape` must be a list of 1 to {MAX_DIMENSIONS} integers", field="shape")
    if not all(type(size) is int and size > 0 for size in shape):
        raise InvalidTensor("every dimension of `shape` must be a positive integer", field="shape")
    return tuple(shape)


def validate_datatype(datatype: Any) -> str:
    """Return a datatype. Raises InvalidTensor."""
    if isinstance(datatype, str) and (datatype == "BYTES" or datatype in DATATYPES):
        return datatype
    raise InvalidTensor(f"`datatype` must be one of BYTES, {', '.join(DATATYPES)}", field="datatype")


def from_binary(name: str, datatype: str, shape: tuple[int, ...], content: memoryview) -> Tensor:
    """Parse the binary format. `content` contains exactly this tensor. Raises InvalidTensor."""
    count = math.prod(shape)
    if datatype == "BYTES":
        return Tensor(name, datatype, shape, _elements(content, count))
    dtype = DATATYPES[datatype]
    if len(content) != count * dtype.itemsize:
        raise InvalidTensor("the size of the binary data does not match the shape and datatype", field="shape")
    if dtype.kind == "b":
        octets = np.frombuffer(content, np.uint8)
        if octets.max(initial=0) > 1:
            raise InvalidTensor("BOOL elements must be 0 or 1")
        return Tensor(name, datatype, shape, octets.view(np.bool_).reshape(shape))
    return Tensor(name, datatype, shape, np.frombuffer(content, dtype).reshape(shape))


def _elements(content: memoryview, count: int) -> list[bytes]:
    if count * _LENGTH.size > len(content):
        raise InvalidTensor("the binary data has fewer elements than the shape", field="shape")
    elements, offset = [], 0
    for _ in range(count):
        if offset + _LENGTH.size > len(content):
            raise InvalidTensor("the binary data has fewer elements than the shape", field="shape")
        (length,) = _LENGTH.unpack_from(content, offset)
        offset += _LENGTH.size
        if offset + length > len(content):
            raise InvalidTensor("an element is longer than the rest of the binary data")
        elements.append(bytes(content[offset : offset + length]))
        offset += length
    if offset != len(content):
        raise InvalidTensor("the binary data has more bytes after the last element")
    return elements


def to_binary(tensor: Tensor) -> bytes:
    """Return the binary format."""
    if isinstance(tensor.values, list):
        return b"".join(_LENGTH.pack(len(element)) + element for element in tensor.values)
    return np.ascontiguousarray(tensor.values, DATATYPES[tensor.datatype]).tobytes()


def from_json(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> Tensor:
    """Convert parsed JSON. Raises InvalidTensor."""
    flat, _ = flatten(data, math.prod(shape))
    return from_json_values(name, datatype, shape, flat)


def from_json_values(name: str, datatype: str, shape: tuple[int, ...], flat: list[Any]) -> Tensor:
    """Convert parsed JSON elements, whose number matches the shape. Raises InvalidTensor."""
    if datatype == "BYTES":
        if set(map(type, flat)) != {str}:
            raise InvalidTensor("BYTES elements must be strings in JSON", field="data")
        return Tensor(name, datatype, shape, [element.encode() for element in flat])
    values = np.empty(len(flat), DATATYPES[datatype])
    for start in range(0, len(flat), _CHUNK):  # in chunks, so that other threads can run
        values[start : start + _CHUNK] = _numbers(flat[start : start + _CHUNK], datatype)
    return Tensor(name, datatype, shape, values.reshape(shape))


def _numbers(elements: list[Any], datatype: str) -> NDArray[Any]:
    dtype = DATATYPES[datatype]
    if not set(map(type, elements)) <= _ALLOWED[dtype.kind]:
        raise InvalidTensor(f"the data has elements that are not {datatype}", field="data")
    try:
        with np.errstate(over="ignore"):  # overflow becomes infinity, which is rejected later
            return np.array(elements, dtype)
    except OverflowError:
        raise InvalidTensor(f"the data has numbers out of range for {datatype}", field="data") from None


def flatten(data: Any, count: int | None = None) -> tuple[list[Any], tuple[int, ...]]:
    """Return the elements and the shape of nested lists.

    Raises InvalidTensor if the lists are ragged or the number of elements is not `count`.
    """
    shape: list[int] = []
    first = data
    while isinstance(first, list):
        if not first or len(shape) == MAX_DIMENSIONS:
            raise InvalidTensor(f"the data must be a list, nested at most {MAX_DIMENSIONS} levels, without empty lists")
        shape.append(len(first))
        first = first[0]
    if not shape:
        raise InvalidTensor("the data must be a list", field="data")
    if count is not None and math.prod(shape) != count:
        raise InvalidTensor("the number of elements does not match the shape", field="data")
    flat = data
    for size in shape[1:]:
        if not all(type(part) is list and len(part) == size for part in flat):
            raise InvalidTensor("the nested lists have different lengths", field="data")
        flat = list(chain.from_iterable(flat))
    return flat, tuple(shape)


def to_json(tensor: Tensor) -> Any:
    """Return a flat list, or a flat array that orjson can serialise."""
    if isinstance(tensor.values, list):
        return [element.decode(errors="replace") for element in tensor.values]
    if tensor.datatype == "FP16":  # orjson does not serialise float16 of foreign byte order
        return tensor.values.astype(np.float32).ravel()
    return np.ascontiguousarray(tensor.values).ravel()
