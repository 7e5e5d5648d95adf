import asyncio
import base64
import gzip
import io
import json
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from service.api.compression import compress
from service.services import Services
from service.serving.batch_invariant import batch_invariant_forward
from service.settings import Settings
from tests.service.conftest import half_trained, png
from training import Dataset
from training.types import Floats

PATH = "/v2/models/mnist/infer"
PROBLEM = {"type", "title", "status", "detail", "code", "error", "request_id"}


def assert_refused(answer: httpx.Response, status: int, code: str | None = None) -> None:
    body = answer.json()
    assert answer.status_code == status, body
    assert answer.headers["content-type"] == "application/json"  # their clients read `error` from nothing else
    assert set(body) - {"field"} == PROBLEM
    assert body["error"] == body["detail"]
    assert body["error"]
    assert code is None or body["code"] == code


def tensor(datatype: str, shape: list[int], data: Any, **more: Any) -> dict[str, Any]:
    return {"name": "image", "datatype": datatype, "shape": shape, "data": data, **more}


def asks(*inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"inputs": list(inputs), **more}


def binary_request(content: bytes, datatype: str, shape: list[int], **more: Any) -> dict[str, Any]:
    size = {"parameters": {"binary_data_size": len(content)}}
    text = json.dumps({"inputs": [{"name": "x", "datatype": datatype, "shape": shape, **size}], **more}).encode()
    return {"content": text + content, "headers": {"Inference-Header-Content-Length": str(len(text))}}


@pytest.fixture
def reference(app: FastAPI) -> Any:
    """What training's network says by the very weights that serve, to the bit in any company."""
    services: Services = app.state.services
    network = services.predictor.serving.network

    def probabilities(images: Any) -> Floats:
        return batch_invariant_forward(network)(network.config.input.to_features(images))

    return probabilities


def values_of(answer: httpx.Response) -> Floats:
    assert answer.status_code == 200, answer.text
    (output,) = (output for output in answer.json()["outputs"] if output["name"] == "probabilities")
    return np.array(output["data"], np.float32).reshape(output["shape"])


@pytest.mark.parametrize("rows", [1, 3, 65, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("datatype", ["UINT8", "INT32", "INT64", "UINT64", "FP32", "FP64"])
async def test_pixels_and_floats_in_every_shape_get_the_answers_of_training(
    rows: int, datatype: str, client: httpx.AsyncClient, digits: Dataset, reference: Any
) -> None:
    images = digits.images[:rows]
    numbers = images / np.float32(255) if datatype.startswith("FP") else images.astype(np.int64)
    expected = reference(images)
    for shape in ([28, 28], [784], [28, 28, 1], [1, 28, 28]):
        for data in (numbers.ravel().tolist(), numbers.reshape([rows, *shape]).tolist()):
            answer = await client.post(PATH, json=asks(tensor(datatype, [rows, *shape], data), id="mine"))
            assert np.allclose(values_of(answer), expected, atol=1e-6)
            body = answer.json()
            assert (body["model_name"], body["model_version"], body["id"]) == ("mnist", "1", "mine")
            assert body["outputs"][1] == {
                "name": "label",
                "datatype": "BYTES",
                "shape": [rows],
                "data": [str(place) for place in expected.argmax(axis=1)],
            }
            assert answer.headers["x-model-version"] == "1"
            assert "inference-header-content-length" not in answer.headers


async def test_the_answer_equals_the_reference_bit_for_bit_in_json_and_in_binary(
    client: httpx.AsyncClient, digits: Dataset, reference: Any
) -> None:
    images = digits.images[:16]
    ask = {"parameters": {"binary_data_output": True}}
    expected = reference(images)
    plain = await client.post(PATH, **binary_request(images.tobytes(), "UINT8", [16, 28, 28]))
    assert values_of(plain).tobytes() == expected.tobytes()
    answer = await client.post(PATH, **binary_request(images.tobytes(), "UINT8", [16, 28, 28], **ask))
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    first, second = json.loads(answer.content[:length])["outputs"]
    size = first["parameters"]["binary_data_size"]
    assert answer.content[length : length + size] == expected.tobytes()
    assert second["parameters"]["binary_data_size"] == 16 * 5
    assert answer.content[length + size :] == b"".join(b"\x01\0\0\0%d" % p for p in expected.argmax(axis=1))


async def test_each_output_is_answered_as_it_was_asked_for(client: httpx.AsyncClient, digits: Dataset) -> None:
    outputs = [{"name": "label", "parameters": {"binary_data": True}}, {"name": "probabilities"}]
    body = asks(tensor("UINT8", [1, 784], digits.images[0].ravel().tolist()), outputs=outputs)
    answer = await client.post(PATH, json=body)
    length = int(answer.headers["inference-header-content-length"])
    label, probabilities = json.loads(answer.content[:length])["outputs"]
    assert (label["name"], label["parameters"]) == ("label", {"binary_data_size": 5})
    assert len(probabilities["data"]) == 10
    assert answer.content[length:] == b"\x01\0\0\0%d" % digits.labels[0]


async def test_a_body_without_json_is_the_pixels_of_one_image(
    client: httpx.AsyncClient, digits: Dataset, reference: Any
) -> None:
    header = {"Inference-Header-Content-Length": "0"}
    answer = await client.post(PATH, content=digits.images[7].tobytes(), headers=header)
    length = int(answer.headers["inference-header-content-length"])
    assert answer.content[length : length + 40] == reference(digits.images[7:8]).tobytes()


async def test_a_numpy_codec_gets_one_tensor_unless_it_asks_for_more(client: httpx.AsyncClient) -> None:
    array = tensor("UINT8", [1, 784], [0] * 784, parameters={"content_type": "np"})
    for body, names in (
        (asks(array), ["probabilities"]),
        (asks(array | {"parameters": None}, parameters={"content_type": "np"}), ["probabilities"]),
        (asks(array, outputs=[{"name": "label"}, {"name": "probabilities"}]), ["label", "probabilities"]),
        (asks(array | {"parameters": {"content_type": "str"}}), ["probabilities", "label"]),
    ):
        answer = await client.post(PATH, json=body)
        assert [output["name"] for output in answer.json()["outputs"]] == names


async def test_small_booleans_and_halves_are_read(client: httpx.AsyncClient, digits: Dataset, reference: Any) -> None:
    images = np.where(digits.images[:4] > 127, 255, 0).astype(np.uint8)
    half = (images // 255).astype("<f2")
    for content, datatype in ((images == 255, "BOOL"), (half, "FP16"), (images.astype("<u2"), "UINT16")):
        answer = await client.post(PATH, **binary_request(content.tobytes(), datatype, [4, 28, 28]))
        assert np.array_equal(values_of(answer), reference(images))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP"])
async def test_encoded_images_are_read_as_files_and_as_base64(
    kind: str, client: httpx.AsyncClient, digits: Dataset
) -> None:
    file = io.BytesIO()
    Image.fromarray(digits.images[0]).resize((90, 90)).save(file, kind)
    content, text = file.getvalue(), base64.b64encode(file.getvalue())
    told = (await client.post("/predict", content=content, headers={"Content-Type": "image/png"})).json()
    answers = [
        await client.post(PATH, json=asks(tensor("BYTES", [1], [text.decode()]))),
        await client.post(PATH, **binary_request(len(content).to_bytes(4, "little") + content, "BYTES", [1, 1])),
        await client.post(PATH, **binary_request(len(text).to_bytes(4, "little") + text, "BYTES", [1])),
    ]
    for answer in answers:
        assert values_of(answer).max() == pytest.approx(told["confidence"], rel=1e-5)


async def test_classification_names_the_best_classes(
    client: httpx.AsyncClient, digits: Dataset, reference: Any
) -> None:
    images = digits.images[:2]
    expected = reference(images)
    for most, told in ((3, 3), (10, 10), (99, 10)):
        outputs = [{"name": "probabilities", "parameters": {"classification": most}}]
        answer = await client.post(PATH, json=asks(tensor("UINT8", [2, 28, 28], images.tolist()), outputs=outputs))
        (output,) = answer.json()["outputs"]
        assert (output["datatype"], output["shape"]) == ("BYTES", [2, told])
        rows = np.array(output["data"]).reshape(2, told)
        for row, probabilities in zip(rows, expected, strict=True):
            places = [int(entry.split(":")[1]) for entry in row]
            assert places == np.argsort(-probabilities, kind="stable")[:told].tolist()
            assert [np.float32(entry.split(":")[0]) for entry in row] == [probabilities[place] for place in places]
            assert [entry.split(":")[2] for entry in row] == [str(place) for place in places]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_bodies_and_answers_may_be_compressed(
    encoding: str, client: httpx.AsyncClient, digits: Dataset, reference: Any
) -> None:
    request = binary_request(
        digits.images[:20].tobytes(), "UINT8", [20, 28, 28], parameters={"binary_data_output": True}
    )
    headers = request["headers"] | {"Content-Encoding": encoding, "Accept-Encoding": encoding}
    async with client.stream("POST", PATH, content=compress(request["content"], encoding), headers=headers) as answer:
        raw = b"".join([piece async for piece in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == encoding
    content = gzip.decompress(raw) if encoding == "gzip" else zlib.decompress(raw)
    length = int(answer.headers["inference-header-content-length"])
    assert content[length : length + 800] == reference(digits.images[:20]).tobytes()


async def test_an_answer_is_not_compressed_unasked(client: httpx.AsyncClient, digits: Dataset) -> None:
    body = asks(tensor("UINT8", [1, 28, 28], digits.images[0].tolist()))
    answer = await client.post(PATH, json=body, headers={"Accept-Encoding": "identity"})
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers


async def test_a_bomb_and_a_body_that_is_too_long_are_refused(settings: Settings, client: httpx.AsyncClient) -> None:
    bomb = gzip.compress(bytes(settings.max_body_bytes + 1))
    assert_refused(await client.post(PATH, content=bomb, headers={"Content-Encoding": "gzip"}), 413)
    assert_refused(await client.post(PATH, content=bytes(settings.max_body_bytes + 1)), 413)
    assert_refused(await client.post(PATH, content=b"x", headers={"Content-Encoding": "gzip"}), 400)
    assert_refused(await client.post(PATH, content=b"x", headers={"Content-Encoding": "br"}), 415)


async def test_batches_have_a_limit(settings: Settings, client: httpx.AsyncClient, digits: Dataset) -> None:
    most = settings.max_tensor_rows
    content = bytes(784 * (most + 1))
    assert (await client.post(PATH, **binary_request(content[784:], "UINT8", [most, 784]))).status_code == 200
    assert_refused(await client.post(PATH, **binary_request(content, "UINT8", [most + 1, 784])), 413)
    image = base64.b64encode(png(digits.images[0])).decode()
    most = settings.max_batch_images
    assert (await client.post(PATH, json=asks(tensor("BYTES", [most], [image] * most)))).status_code == 200
    assert_refused(await client.post(PATH, json=asks(tensor("BYTES", [most + 1], [image] * (most + 1)))), 413)


BLANK = [0] * 784


@pytest.mark.parametrize(
    "body",
    [
        {},
        asks(),
        asks(tensor("UINT8", [1, 784], BLANK), tensor("UINT8", [1, 784], BLANK)),
        asks(tensor("UINT8", [784], BLANK)),
        asks(tensor("UINT8", [28, 28], BLANK)),
        asks(tensor("UINT8", [1, 14, 56], BLANK)),
        asks(tensor("UINT8", [1, 1, 784], BLANK)),
        asks(tensor("INT16", [1, 784], [-1, *BLANK[1:]])),
        asks(tensor("INT16", [1, 784], [256, *BLANK[1:]])),
        asks(tensor("FP32", [1, 784], [1.5, *BLANK[1:]])),
        asks(tensor("FP32", [1, 784], [-0.5, *BLANK[1:]])),
        asks(tensor("FP32", [1, 784], [255.0, *BLANK[1:]])),
        asks(tensor("FP32", [1, 784], [1e300, *BLANK[1:]])),
        asks(tensor("FP64", [1, 784], [1e300, *BLANK[1:]])),
        asks(tensor("BYTES", [1], ["not an image"])),
        asks(tensor("BYTES", [1], [""])),
        asks(tensor("BYTES", [1], ["iVBORw0KGgo%%%"])),
        asks(tensor("BYTES", [1], ["iVBORw0KGgoAAAA="])),
        asks(tensor("BYTES", [1, 1, 1], ["x"])),
        asks(tensor("BYTES", [1, 2], ["x", "y"])),
        asks(tensor("UINT8", [1, 784], BLANK), outputs=[{"name": "other"}]),
        asks(tensor("UINT8", [1, 784], BLANK), outputs=[{"name": "label", "parameters": {"classification": 2}}]),
    ],
    ids=lambda body: json.dumps(body)[:40],
)
async def test_what_the_model_cannot_take_is_refused(body: dict[str, Any], client: httpx.AsyncClient) -> None:
    assert_refused(await client.post(PATH, json=body), 400, "invalid_tensor")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
async def test_numbers_that_are_none_are_refused(value: float, dtype: str, client: httpx.AsyncClient) -> None:
    values = np.zeros(784, dtype)
    values[300] = value
    datatype = f"FP{8 * np.dtype(dtype).itemsize}"
    answer = await client.post(PATH, **binary_request(values.tobytes(), datatype, [1, 784]))
    assert_refused(answer, 400, "invalid_tensor")


async def test_a_header_that_lies_is_refused(client: httpx.AsyncClient) -> None:
    body = json.dumps(asks(tensor("UINT8", [1, 784], BLANK))).encode()
    for length in ("-1", "x", str(len(body) + 1), "1.5", ""):
        header = {"Inference-Header-Content-Length": length}
        assert_refused(await client.post(PATH, content=body, headers=header), 400, "malformed_request")


@pytest.mark.parametrize("kind", [None, "text/plain", "application/octet-stream", "multipart/form-data", "image/png"])
async def test_the_content_type_does_not_matter(kind: str | None, client: httpx.AsyncClient) -> None:
    body = json.dumps(asks(tensor("UINT8", [1, 784], BLANK))).encode()
    answer = await client.post(PATH, content=body, headers={"Content-Type": kind} if kind else {})
    assert answer.status_code == 200


async def test_versions_are_asked_for_by_number(app: FastAPI, client: httpx.AsyncClient, digits: Dataset) -> None:
    services: Services = app.state.services
    weights, details = half_trained()
    made = services.registry.publish("mnist", weights, details).version
    body = asks(tensor("UINT8", [1, 28, 28], digits.images[0].tolist()))
    plain = await client.post(PATH, json=body)
    assert plain.headers["x-model-version"] == "1", plain.text
    answer = await client.post(f"/v2/models/mnist/versions/{made}/infer", json=body)
    assert answer.json()["model_version"] == answer.headers["x-model-version"] == str(made)
    network = services.registry.load("mnist", made).network
    expected = batch_invariant_forward(network)(network.config.input.to_features(digits.images[:1]))
    assert np.array_equal(values_of(answer), expected)
    for path in ("mnist/versions/9", "mnist/versions/x", "mnist/versions/-1", "mnist/versions/01", "other", "A%20b"):
        assert_refused(await client.post(f"/v2/models/{path}/infer", json=body), 404, "not_found")
    assert_refused(await client.post("/v2/models/mnist/versions/99999999999999999999/infer", json=body), 404)


async def test_a_canary_answers_here_too(app: FastAPI, client: httpx.AsyncClient, digits: Dataset) -> None:
    services: Services = app.state.services
    made = services.registry.publish("mnist", *half_trained()).version
    answer = await client.put(
        "/models/mnist/aliases/production",
        json={"version": 1, "candidate": made, "mode": "canary", "share": 1},
    )
    assert answer.status_code == 200
    services.predictor.refresh()
    body = asks(tensor("UINT8", [1, 28, 28], digits.images[0].tolist()))
    assert (await client.post(PATH, json=body)).json()["model_version"] == str(made)


async def test_what_was_read_is_counted_and_can_be_put_right(client: httpx.AsyncClient, digits: Dataset) -> None:
    body = asks(tensor("UINT8", [3, 28, 28], digits.images[:3].tolist()))
    answer = await client.post(PATH, json=body, headers={"X-Request-ID": "three-images"})
    assert answer.headers["x-request-id"] == "three-images"
    labels = answer.json()["outputs"][1]["data"]
    metrics = (await client.get("/metrics")).text
    for label in labels:
        assert f'glyphserve_predictions_total{{label="{label}",model="mnist"}}' in metrics
    sent = await client.post("/samples", json={"request_id": "three-images", "index": 1, "label": "7"})
    assert sent.status_code == 201, sent.text


async def test_errors_of_the_addresses_are_in_the_one_shape(client: httpx.AsyncClient) -> None:
    assert_refused(await client.get(PATH), 405, "method_not_allowed")
    assert_refused(await client.get("/v2/nothing"), 404)
    assert_refused(await client.post("/v2/models/mnist"), 405)


async def test_many_at_once_each_get_their_own_answer(
    client: httpx.AsyncClient, digits: Dataset, reference: Any
) -> None:
    async def ask(start: int, rows: int) -> bool:
        images = digits.images[start : start + rows]
        request = binary_request(images.tobytes(), "UINT8", [rows, 28, 28], id=str(start))
        answer = await client.post(PATH, **request)
        assert answer.status_code == 200, answer.text
        return answer.json()["id"] == str(start) and np.allclose(values_of(answer), reference(images), atol=1e-6)

    sizes = [1, 2, 70, 1, 130, 3] * 4
    assert all(await asyncio.gather(*(ask(17 * place, rows) for place, rows in enumerate(sizes))))
