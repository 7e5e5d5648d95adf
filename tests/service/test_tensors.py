import json
import math
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.errors import InvalidTensor
from service.inference.tensors import (
    DATATYPES,
    Tensor,
    from_binary,
    from_json,
    to_binary,
    to_json,
    validate_datatype,
    validate_shape,
)

SHAPES = arrays.array_shapes(max_dims=4, max_side=4)


@st.composite
def numeric(draw: st.DrawFn) -> Tensor:
    datatype = draw(st.sampled_from(sorted(DATATYPES)))
    values = draw(arrays.arrays(DATATYPES[datatype], SHAPES))
    return Tensor("x", datatype, values.shape, values)


@st.composite
def of_bytes(draw: st.DrawFn) -> Tensor:
    shape = draw(SHAPES)
    count = math.prod(shape)
    return Tensor("x", "BYTES", shape, draw(st.lists(st.binary(max_size=9), min_size=count, max_size=count)))


def same(one: Tensor, other: Tensor) -> bool:
    if isinstance(one.values, list) or isinstance(other.values, list):
        return one == other
    named = (one.name, one.datatype, one.shape) == (other.name, other.datatype, other.shape)
    return named and one.values.tobytes() == other.values.tobytes()


@given(st.one_of(numeric(), of_bytes()))
def test_the_binary_layout_goes_there_and_back_bit_for_bit(tensor: Tensor) -> None:
    content = memoryview(to_binary(tensor))
    assert same(from_binary("x", tensor.datatype, tensor.shape, content), tensor)


@given(numeric(), st.booleans())
def test_json_goes_there_and_back_flat_or_nested(tensor: Tensor, nested: bool) -> None:
    assert not isinstance(tensor.values, list)
    if tensor.values.dtype.kind == "f" and not np.isfinite(tensor.values).all():
        return
    data = tensor.values.tolist() if nested else to_json(tensor).tolist()
    read = from_json("x", tensor.datatype, tensor.shape, json.loads(json.dumps(data)))
    assert same(read, tensor)


@given(numeric(), st.integers(-9, 9).filter(bool))
def test_a_byte_more_or_less_is_refused(tensor: Tensor, more: int) -> None:
    content = to_binary(tensor)
    changed = content + bytes(more) if more > 0 else content[:more]
    if len(changed) != len(content):
        with pytest.raises(InvalidTensor):
            from_binary("x", tensor.datatype, tensor.shape, memoryview(changed))


@given(st.binary(max_size=64), SHAPES)
def test_any_bytes_are_elements_or_are_refused(content: bytes, shape: tuple[int, ...]) -> None:
    try:
        tensor = from_binary("x", "BYTES", shape, memoryview(content))
    except InvalidTensor:
        return
    assert to_binary(tensor) == content


HUGE = 2**63 - 1


@pytest.mark.parametrize("datatype", [*DATATYPES, "BYTES"])
@pytest.mark.parametrize("shape", [(HUGE,), (2**32, 2**32), (HUGE,) * 8, (1, 784)])
def test_a_huge_shape_costs_nothing(datatype: str, shape: tuple[int, ...]) -> None:
    tracemalloc.start()
    with pytest.raises(InvalidTensor):
        from_binary("x", datatype, shape, memoryview(b"\xff" * 12))
    with pytest.raises(InvalidTensor):
        from_json("x", datatype, shape, [1, 2, 3])
    with pytest.raises(InvalidTensor):
        from_json("x", datatype, shape, [[1, 2, 3]])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<I", 4) + b"abc",
        struct.pack("<I", 2) + b"abc",
        struct.pack("<I", 2**32 - 1) + b"abc",
        b"\x00\x00\x00",
        b"",
    ],
)
def test_lengths_that_lie_are_refused(content: bytes) -> None:
    with pytest.raises(InvalidTensor):
        from_binary("x", "BYTES", (1,), memoryview(content))


def test_elements_that_run_out_are_refused() -> None:
    with pytest.raises(InvalidTensor):
        from_binary("x", "BYTES", (2,), memoryview(struct.pack("<I", 4) + b"abcd"))


def test_a_bool_is_0_or_1() -> None:
    with pytest.raises(InvalidTensor):
        from_binary("x", "BOOL", (2,), memoryview(b"\x01\x02"))


@pytest.mark.parametrize(
    "shape",
    [None, 7, "1", {}, [], [0], [-1], [1, -1, 784], [True], [1.0], ["1"], [None], [[1]], [1] * 9, [2**64, 0]],
)
def test_shapes_are_lists_of_positive_whole_numbers(shape: Any) -> None:
    with pytest.raises(InvalidTensor):
        validate_shape(shape)


@pytest.mark.parametrize("datatype", [None, "", "uint8", "FP8", 8, [], {}])
def test_unknown_datatypes_are_refused(datatype: Any) -> None:
    with pytest.raises(InvalidTensor):
        validate_datatype(datatype)


DEEP: list[Any] = [0]
for _ in range(500):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("UINT8", None),
        ("UINT8", {}),
        ("UINT8", "12"),
        ("UINT8", []),
        ("UINT8", [1]),
        ("UINT8", [1, 2, 3]),
        ("UINT8", [[1], [2, 3]]),
        ("UINT8", [[1], 2]),
        ("UINT8", [1, [2]]),
        ("UINT8", [[[1]], [[]]]),
        ("UINT8", [[], []]),
        ("UINT8", DEEP),
        ("UINT8", [1, 256]),
        ("UINT8", [1, -1]),
        ("UINT8", [1, 2.0]),
        ("UINT8", [1, True]),
        ("UINT8", [1, None]),
        ("UINT8", [1, "2"]),
        ("INT64", [1, 2**63]),
        ("FP32", [1, None]),
        ("FP32", [True, False]),
        ("BOOL", [1, 0]),
        ("BYTES", [1, 2]),
        ("BYTES", ["a", None]),
    ],
)
def test_data_that_is_not_what_it_says_is_refused(datatype: str, data: Any) -> None:
    with pytest.raises(InvalidTensor):
        from_json("x", datatype, (2,), data)
