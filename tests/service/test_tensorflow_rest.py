import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.errors import InvalidTensor, MalformedRequest, PayloadTooLarge
from service.inference.tensorflow_rest import TFServingRequest, read_request
from tests.service.test_open_inference import ANYTHING
from tests.service.test_tensors import DEEP

BOTH = ("instances", "inputs")


def read(content: Any) -> TFServingRequest:
    return read_request(json.dumps(content).encode(), "image", 2048)


@given(
    arrays.arrays(np.int64, arrays.array_shapes(max_dims=4, max_side=4), elements=st.integers(0, 255)),
    st.booleans(),
    st.sampled_from(BOTH),
    st.booleans(),
)
def test_pixels_become_a_tensor_of_their_shape(values: Any, is_float: bool, form: str, named: bool) -> None:
    if is_float:
        values = values.astype(np.float32) / np.float32(255)
    given_values = values.tolist()
    if named:
        given_values = [{"image": value} for value in given_values] if form == "instances" else {"image": given_values}
    request = read({form: given_values})
    assert (request.form, request.tensor.shape) == (form, values.shape)
    assert request.tensor.datatype == ("FP32" if is_float else "INT64")
    assert np.array_equal(request.tensor.values, values)


@given(st.lists(st.binary(), min_size=1, max_size=4), st.sampled_from(BOTH))
def test_binary_values_come_in_base64(files: list[bytes], form: str) -> None:
    values = [{"b64": base64.b64encode(file).decode()} for file in files]
    assert read({form: values}).tensor.values == files
    assert read({"instances": [{"image": value} for value in values]}).tensor.values == files


def test_one_number_with_a_decimal_point_makes_all_of_them_floats() -> None:
    assert read({"instances": [[0, 1], [1, 0.5]]}).tensor.datatype == "FP32"


def test_the_one_signature_may_be_named_and_other_fields_are_nobodys() -> None:
    for name in (None, "", "serving_default"):
        assert read({"instances": [[1]], "signature_name": name, "more": 1}).form == "instances"
    with pytest.raises(InvalidTensor):
        read({"instances": [[1]], "signature_name": "other"})


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"instances": [NaN]}', b"[" * 100_000])
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read_request(body, "image", 2048)


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"instances": []},
        {"instances": "x"},
        {"instances": {"image": [[1]]}},
        {"instances": [[1]], "inputs": [[1]]},
        {"inputs": {"a": [[1]], "b": [[1]]}},
        {"inputs": {"b64": "AAAA"}},
        {"instances": [[1, 2], [3]]},
        {"instances": [[1, 2], 3]},
        {"instances": [[]]},
        {"instances": [[1, None]]},
        {"instances": [[True]]},
        {"instances": [["1"]]},
        {"instances": [[2**64 - 1]]},
        {"instances": DEEP},
        {"instances": [{"b64": "%%%"}]},
        {"instances": [{"b64": 7}]},
        {"instances": [{"b64": "AAAA", "more": 1}]},
        {"instances": [{}]},
        {"instances": [{"b64": "AAAA"}, [1]]},
        {"instances": [{"b64": "é"}]},
    ],
)
def test_values_of_the_wrong_form_are_refused(content: Any) -> None:
    with pytest.raises(InvalidTensor):
        read(content)


@given(ANYTHING, st.sampled_from(BOTH))
def test_any_value_is_read_or_refused_with_400(content: Any, form: str) -> None:
    try:
        read({form: content})
    except (InvalidTensor, MalformedRequest):
        return


@pytest.mark.parametrize("form", ["instances", "inputs"])
@pytest.mark.parametrize("value", [{"b64": 0}, {"image": {"b64": 0}}, [[]]])
def test_values_are_counted_before_any_is_looked_at(form: str, value: Any) -> None:
    for count, error in ((2, InvalidTensor), (3, PayloadTooLarge)):
        with pytest.raises(error):
            read_request(json.dumps({form: [value] * count}).encode(), "image", 2)
