import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidTensor, MalformedRequest
from service.inference.model_input import RAW_IMAGE_SPEC
from service.inference.open_inference import InferRequest, read_json, read_request, write_response
from service.inference.tensors import Tensor, to_binary
from tests.service.test_tensors import numeric, of_bytes, same

IMAGE: dict[str, Any] = {"name": "image", "datatype": "UINT8", "shape": [1, 4], "data": [0, 1, 2, 3]}


def read(body: bytes, json_length: str | None = None) -> InferRequest:
    return read_request(body, json_length, RAW_IMAGE_SPEC)


def parts(content: dict[str, Any], binary: bytes = b"") -> tuple[bytes, str]:
    text = json.dumps(content).encode()
    return text + binary, str(len(text))


@given(st.lists(st.one_of(numeric(), of_bytes()), max_size=4), st.data())
def test_binary_and_json_inputs_are_told_apart_in_one_body(tensors: list[Tensor], data: st.DataObject) -> None:
    entries, pieces = [], []
    for tensor in tensors:
        entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if isinstance(tensor.values, list) or tensor.values.dtype.kind == "f" or data.draw(st.booleans()):
            pieces.append(to_binary(tensor))
            entry["parameters"] = {"binary_data_size": len(pieces[-1])}
        else:
            entry["data"] = tensor.values.tolist()
        entries.append(entry)
    body, length = parts({"inputs": entries}, b"".join(pieces))
    found = read(body, length).inputs
    assert len(found) == len(tensors)
    assert all(same(one, other) for one, other in zip(found, tensors, strict=True))


@given(st.lists(st.tuples(st.one_of(numeric(), of_bytes()), st.booleans()), min_size=1, max_size=3))
def test_an_answer_can_be_taken_apart_again(outputs: list[tuple[Tensor, bool]]) -> None:
    content, json_length = write_response("m", "1", "id", outputs)
    described = orjson.loads(content[:json_length] if json_length is not None else content)
    assert (described["model_name"], described["model_version"], described["id"]) == ("m", "1", "id")
    place = json_length or len(content)
    for (tensor, is_binary), entry in zip(outputs, described["outputs"], strict=True):
        assert (entry["name"], entry["datatype"]) == (tensor.name, tensor.datatype)
        assert tuple(entry["shape"]) == tensor.shape
        if is_binary:
            size = entry["parameters"]["binary_data_size"]
            assert content[place : place + size] == to_binary(tensor)
            place += size
        else:
            assert len(entry["data"]) == np.prod(tensor.shape)
    assert place == len(content)


def test_what_clients_add_is_ignored_and_nulls_are_nothing() -> None:
    content = {
        "id": None,
        "parameters": None,
        "model_name": "x",
        "outputs": None,
        "inputs": [IMAGE | {"parameters": None}],
    }
    request = read(json.dumps(content).encode())
    assert (request.id, request.outputs, request.binary) == (None, None, False)
    assert request.inputs[0].shape == (1, 4)


def test_an_output_may_differ_from_the_rest() -> None:
    outputs = [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False, "classification": 3}}]
    request = read(json.dumps({"parameters": {"binary_data_output": True}, "inputs": [], "outputs": outputs}).encode())
    assert [(o.name, o.binary, o.classes) for o in request.outputs or ()] == [("a", True, None), ("b", False, 3)]


def test_without_json_the_body_is_one_image() -> None:
    request = read(bytes(784), "0")
    assert (request.inputs[0].shape, request.binary) == ((1, 28, 28), True)
    with pytest.raises(InvalidTensor):
        read(bytes(783), "0")


@pytest.mark.parametrize("length", ["", "-1", "+1", " 1", "1.0", "x", "99999", "9" * 400, "\u0661", "0x1"])
def test_the_length_of_the_json_must_be_one(length: str) -> None:
    with pytest.raises(MalformedRequest):
        read(json.dumps({"inputs": [IMAGE]}).encode(), length)


BINARY = {key: value for key, value in IMAGE.items() if key != "data"}


def sized(size: Any) -> dict[str, Any]:
    return BINARY | {"parameters": {"binary_data_size": size}}


@pytest.mark.parametrize(
    ("content", "binary"),
    [
        ({"inputs": [IMAGE]}, b"x"),
        ({"inputs": [sized(4)]}, b"abc"),
        ({"inputs": [sized(4)]}, b"abcde"),
        ({"inputs": [sized(3)]}, b"abc"),
        ({"inputs": [sized(5)]}, b"abcde"),
        ({"inputs": [sized(-4)]}, b"abcd"),
        ({"inputs": [sized(2**63)]}, b"abcd"),
        ({"inputs": [sized(4.0)]}, b"abcd"),
        ({"inputs": [sized(True)]}, b"a"),
        ({"inputs": [sized("4")]}, b"abcd"),
        ({"inputs": [IMAGE | {"parameters": {"binary_data_size": 4}}]}, b"abcd"),
        ({"inputs": [BINARY]}, b"abcd"),
        ({"inputs": [sized(4) | {"shape": [2**62, 2**62]}]}, b"abcd"),
        ({"inputs": [sized(4) | {"shape": [-1, -4]}]}, b"abcd"),
        ({"inputs": [BINARY | {"parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 4}}]}, b""),
    ],
)
def test_sizes_that_lie_are_refused(content: dict[str, Any], binary: bytes) -> None:
    with pytest.raises(InvalidTensor):
        read(*parts(content, binary))


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"inputs": {}},
        {"inputs": [1]},
        {"inputs": [{}]},
        {"inputs": [IMAGE | {"name": 1}]},
        {"inputs": [IMAGE | {"parameters": []}]},
        {"id": 1, "inputs": [IMAGE]},
        {"parameters": "x", "inputs": [IMAGE]},
        {"parameters": {"binary_data_output": "yes"}, "inputs": [IMAGE]},
        {"inputs": [IMAGE], "outputs": {}},
        {"inputs": [IMAGE], "outputs": [{}]},
        {"inputs": [IMAGE], "outputs": [{"name": "a"}, {"name": "a"}]},
        {"inputs": [IMAGE], "outputs": [{"name": "a", "parameters": {"classification": -1}}]},
        {"inputs": [IMAGE], "outputs": [{"name": "a", "parameters": {"classification": "3"}}]},
        {"inputs": [IMAGE], "outputs": [{"name": "a", "parameters": {"binary_data": 1}}]},
    ],
)
def test_messages_of_the_wrong_form_are_refused(content: Any) -> None:
    with pytest.raises(InvalidTensor):
        read(json.dumps(content).encode())


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"NaN", b'{"inputs": [NaN]}', b"[" * 100_000])
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read(body)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("UINT8"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["name", "shape", "datatype", "data", "parameters", "binary_data_size", "inputs", "outputs", "id"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(ANYTHING, st.binary(max_size=20), st.integers(-3, 3))
def test_any_message_is_read_or_refused_with_400(content: Any, binary: bytes, off: int) -> None:
    text = json.dumps(content).encode()
    for body, length in ((text, None), (text + binary, str(len(text) + off)), (binary, None), (binary, "0")):
        try:
            read(body, length)
        except (InvalidTensor, MalformedRequest):
            continue


def test_an_empty_body_is_an_empty_object_but_only_of_the_blanks_that_json_knows() -> None:
    assert read_json(b"") == read_json(b" \r\n\t") == {}
    for body in (b"\x0b", b"\x0c", b"\0"):
        with pytest.raises(MalformedRequest):
            read_json(body)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"inputs": [0] * 101}, "`inputs` has 101 entries; the limit is 100"),
        ({"inputs": [IMAGE], "outputs": [0] * 101}, "`outputs` has 101 entries; the limit is 100"),
        ({"inputs": [IMAGE | {"data": [[0]] + [[]] * 4}]}, "the number of elements does not match the shape"),
    ],
)
def test_lists_are_counted_before_they_are_looked_at(content: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidTensor, match=reason):
        read(json.dumps(content).encode())
