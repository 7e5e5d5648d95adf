"""Tensors on the wire: the datatypes of the Open Inference Protocol, as JSON lists and in its binary layout.

Nothing here knows HTTP or the model. What a sender claims (shapes, sizes, lengths) is held against what there is
before any memory is taken for it: a wrong claim costs no more than reading it.

    binary    little-endian, row-major; a BYTES element is its length as UINT32, then its bytes
    JSON      numbers, booleans or strings, row-major: flat, or nested
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
"""Those of fixed size; BYTES is the other one."""

MAX_DIMENSIONS = 8

_PIECE = 32_768

_LENGTH = struct.Struct("<I")
_ALLOWED: dict[str, set[type]] = {"b": {bool}, "u": {int}, "i": {int}, "f": {int, float}}
"""By NumPy's kind of a datatype: the types that its elements may have in JSON."""


@dataclass(frozen=True)
class Tensor:
    """A tensor with a name. BYTES has a list of elements, everything else an array of its shape."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: NDArray[Any] | list[bytes]


def checked_shape(shape: Any) -> tuple[int, ...]:
    """Read a shape: one to eight positive whole numbers. Raises InvalidTensor."""
    if not isinstance(shape, list) or not 1 <= len(shape) <= MAX_DIMENSIONS:
        raise InvalidTensor(f"`shape` must be a list of 1 to {MAX_DIMENSIONS} whole numbers", field="shape")
    if not all(type(size) is int and size > 0 for size in shape):
        raise InvalidTensor("every dimension of `shape` must be a whole number above 0", field="shape")
    return tuple(shape)


def checked_datatype(datatype: Any) -> str:
    """Read a datatype. Raises InvalidTensor."""
    if isinstance(datatype, str) and (datatype == "BYTES" or datatype in DATATYPES):
        return datatype
    raise InvalidTensor(f"`datatype` must be one of BYTES, {', '.join(DATATYPES)}", field="datatype")


def from_binary(name: str, datatype: str, shape: tuple[int, ...], content: memoryview) -> Tensor:
    """Read the binary layout; all of `content` belongs to this tensor. Raises InvalidTensor."""
    count = math.prod(shape)
    if datatype == "BYTES":
        return Tensor(name, datatype, shape, _elements(content, count))
    dtype = DATATYPES[datatype]
    if len(content) != count * dtype.itemsize:
        raise InvalidTensor("the size of the binary data is not that of the shape and datatype", field="shape")
    if dtype.kind == "b":
        octets = np.frombuffer(content, np.uint8)
        if octets.max(initial=0) > 1:
            raise InvalidTensor("BOOL is 0 or 1")
        return Tensor(name, datatype, shape, octets.view(np.bool_).reshape(shape))
    return Tensor(name, datatype, shape, np.frombuffer(content, dtype).reshape(shape))


def _elements(content: memoryview, count: int) -> list[bytes]:
    if count * _LENGTH.size > len(content):
        raise InvalidTensor("the binary data has fewer elements than the shape says", field="shape")
    elements, place = [], 0
    for _ in range(count):
        if place + _LENGTH.size > len(content):
            raise InvalidTensor("the binary data has fewer elements than the shape says", field="shape")
        (length,) = _LENGTH.unpack_from(content, place)
        place += _LENGTH.size
        if place + length > len(content):
            raise InvalidTensor("an element is longer than what is left of the binary data")
        elements.append(bytes(content[place : place + length]))
        place += length
    if place != len(content):
        raise InvalidTensor("the binary data goes on after the last element")
    return elements


def to_binary(tensor: Tensor) -> bytes:
    """Write the binary layout."""
    if isinstance(tensor.values, list):
        return b"".join(_LENGTH.pack(len(element)) + element for element in tensor.values)
    return np.ascontiguousarray(tensor.values, DATATYPES[tensor.datatype]).tobytes()


def from_json(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> Tensor:
    """Read parsed JSON. Raises InvalidTensor."""
    flat, _ = flattened(data, math.prod(shape))
    return from_elements(name, datatype, shape, flat)


def from_elements(name: str, datatype: str, shape: tuple[int, ...], flat: list[Any]) -> Tensor:
    """Make a tensor of parsed JSON elements, as many as the shape says. Raises InvalidTensor."""
    if datatype == "BYTES":
        if set(map(type, flat)) != {str}:
            raise InvalidTensor("BYTES are strings in JSON", field="data")
        return Tensor(name, datatype, shape, [element.encode() for element in flat])
    values = np.empty(len(flat), DATATYPES[datatype])
    for start in range(0, len(flat), _PIECE):  # in pieces, so that other threads get their turn
        values[start : start + _PIECE] = _numbers(flat[start : start + _PIECE], datatype)
    return Tensor(name, datatype, shape, values.reshape(shape))


def _numbers(elements: list[Any], datatype: str) -> NDArray[Any]:
    dtype = DATATYPES[datatype]
    if not set(map(type, elements)) <= _ALLOWED[dtype.kind]:
        raise InvalidTensor(f"the data has elements that are no {datatype}", field="data")
    try:
        with np.errstate(over="ignore"):  # what is too large for a float becomes infinite, and is refused later
            return np.array(elements, dtype)
    except OverflowError:
        raise InvalidTensor(f"the data has numbers that do not fit into {datatype}", field="data") from None


def flattened(data: Any, count: int | None = None) -> tuple[list[Any], tuple[int, ...]]:
    """Line up the elements of a list of lists, and tell its shape.

    Raises InvalidTensor unless it is regular, and has `count` elements where that is given.
    """
    shape: list[int] = []
    first = data
    while isinstance(first, list):
        if not first or len(shape) == MAX_DIMENSIONS:
            raise InvalidTensor(f"the data must be a list, nested up to {MAX_DIMENSIONS} deep, nowhere empty")
        shape.append(len(first))
        first = first[0]
    if not shape:
        raise InvalidTensor("the data must be a list", field="data")
    if count is not None and math.prod(shape) != count:
        raise InvalidTensor("the data has not as many elements as the shape says", field="data")
    flat = data
    for size in shape[1:]:
        if not all(type(part) is list and len(part) == size for part in flat):
            raise InvalidTensor("the lists of the data are not all of one length", field="data")
        flat = list(chain.from_iterable(flat))
    return flat, tuple(shape)


def to_json(tensor: Tensor) -> Any:
    """Give a flat list, or a flat array that orjson can write."""
    if isinstance(tensor.values, list):
        return [element.decode(errors="replace") for element in tensor.values]
    if tensor.datatype == "FP16":  # orjson writes no half floats of foreign byte order
        return tensor.values.astype(np.float32).ravel()
    return np.ascontiguousarray(tensor.values).ravel()
