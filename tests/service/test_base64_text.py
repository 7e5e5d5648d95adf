import base64
import textwrap
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.inference.images import decode_base64
from tests.service.conftest import png
from tests.service.test_predict import assert_problem
from training import Dataset

ENCODERS = (base64.b64encode, base64.urlsafe_b64encode)
PREFIXES = ("", "data:image/png;base64,", "data:image/jpeg;charset=utf-8;base64,", "DATA:;BASE64,", " data:;base64, ")


@given(st.binary(max_size=300), st.sampled_from(ENCODERS), st.sampled_from(PREFIXES), st.booleans(), st.data())
def test_base64_comes_back_however_it_is_written(
    content: bytes, encode: Any, prefix: str, has_padding: bool, data: st.DataObject
) -> None:
    text = encode(content).decode()
    if not has_padding:
        text = text.rstrip("=")
    width = data.draw(st.integers(1, 80))
    newline = data.draw(st.sampled_from(["", "\n", "\r\n", " ", "\t"]))
    written = prefix + newline.join(textwrap.wrap(text, width)) + newline
    assert decode_base64(written) == content
    assert decode_base64(written.encode()) == content


@given(st.one_of(st.text(max_size=50), st.binary(max_size=50)))
def test_any_text_is_decoded_or_refused(text: str | bytes) -> None:
    with suppress(ValueError):
        decode_base64(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("%%%", "invalid characters"),
        ("AAAAA", "truncated"),
        ("AA=A", "invalid characters"),
        ("Grüße", "beyond ASCII"),
        ("data:image/svg+xml,%3Csvg%3E", "not in base64"),
        ("AAAA,AAAA", "invalid characters"),
    ],
)
def test_what_is_not_base64_is_told_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_base64(text)


def forms_of(content: bytes) -> list[str]:
    text = base64.b64encode(content).decode()
    return [
        text,
        "data:image/png;base64," + text,
        base64.encodebytes(content).decode(),  # as `base64 file` prints it
        text.rstrip("="),
        base64.urlsafe_b64encode(content).decode(),
    ]


V1, V2 = "/v1/models/mnist:predict", "/v2/models/mnist/infer"


def tensor(text: str) -> dict[str, Any]:
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}]}


async def test_every_route_that_takes_base64_takes_it_as_browsers_and_command_lines_give_it(
    client: httpx.AsyncClient, digits: Dataset
) -> None:
    for number in range(5, 10):  # paddings of all lengths
        content = png(digits.images[number])
        label = str(digits.labels[number])
        for text in forms_of(content):
            for path, body in (
                ("/predict", {"image": text}),
                ("/predict", {"images": [text]}),
                ("/samples", {"image": text, "label": label}),
                (V1, {"instances": [{"b64": text}]}),
                (V2, tensor(text)),
            ):
                answer = await client.post(path, json=body)
                assert answer.status_code in (200, 201), (path, text, answer.text)
    answer = await client.post("/predict", json={"images": forms_of(png(digits.images[5]))})
    assert {entry["label"] for entry in answer.json()["predictions"]} == {str(digits.labels[5])}


async def test_base64_that_is_damaged_is_refused_with_its_reason(client: httpx.AsyncClient) -> None:
    for text, reason in (("iVBORw0KGgo%", "invalid characters"), ("data:image/svg+xml,iVBORw0KGgo", "data: URL")):
        answers = [
            assert_problem(await client.post("/predict", json={"image": text}), 422, "invalid_image"),
            (await client.post(V1, json={"instances": [{"b64": text}]})).json(),
            (await client.post(V2, json=tensor(text))).json(),
        ]
        for answer in answers:
            assert reason in answer["detail"], answer
