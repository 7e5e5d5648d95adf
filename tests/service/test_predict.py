import asyncio
import base64
import logging
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.observability.tracing import log_context
from service.services import Services
from service.settings import Settings
from tests.service.conftest import half_trained, png
from training import Dataset
from training.export.npz import load

PROBLEM = {"type", "title", "status", "detail", "code", "error", "request_id"}


def assert_problem(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert answer.status_code == status, body
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(body) - {"field"} == PROBLEM
    assert body["status"] == status
    assert body["error"] == body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    assert code is None or body["code"] == code
    assert "Traceback" not in answer.text
    return body


async def test_every_form_of_one_image_gives_the_same_answer(client: httpx.AsyncClient, digits: Dataset) -> None:
    digit = digits.images[5]
    content = png(digit)
    answers = [
        await client.post("/predict", files={"file": ("digit.png", content, "image/png")}),
        await client.post("/predict", files={"file": ("digit", content)}),
        await client.post("/predict", content=content, headers={"Content-Type": "image/png"}),
        await client.post("/predict", content=content, headers={"Content-Type": "application/octet-stream"}),
        await client.post("/predict", json={"pixels": digit.tolist()}),
        await client.post("/predict", json={"pixels": digit.ravel().tolist()}),
        await client.post("/predict", json={"pixels": (digit / 255).tolist()}),
        await client.post("/predict", json={"image": base64.b64encode(content).decode()}),
    ]
    first = answers[0].json()
    assert first["label"] == str(digits.labels[5])
    assert first["confidence"] == max(first["probabilities"].values())
    assert next(iter(first["probabilities"])) == first["label"]
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert (first["model"], first["version"]) == ("mnist", 1)
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-model-version"] == "1"
        assert answer.json() | {"request_id": ""} == first | {"request_id": ""}
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_several_images_are_answered_in_order_and_a_bad_one_fails_alone(
    client: httpx.AsyncClient, digits: Dataset
) -> None:
    contents = [png(digit) for digit in digits.images[:6]]
    contents[2] = b"not an image"
    files = [("file", (f"{number}.png", content, "image/png")) for number, content in enumerate(contents)]
    encoded = [base64.b64encode(content).decode() for content in contents]
    instances: list[Any] = [digit.tolist() for digit in digits.images[:6]]
    instances[2] = [[1, 2], [3]]
    for answer in (
        await client.post("/predict", files=files),
        await client.post("/predict", json={"images": encoded}),
        await client.post("/predict", json={"instances": instances}),
    ):
        assert answer.status_code == 200, answer.text
        predictions = answer.json()["predictions"]
        assert [p.get("label") for p in predictions] == [
            None if place == 2 else str(label) for place, label in enumerate(digits.labels[:6])
        ]
        assert predictions[2]["status"] in (415, 422)
        assert predictions[2]["error"]


async def test_top_k_cuts_the_list(client: httpx.AsyncClient, digits: Dataset) -> None:
    answer = await client.post("/predict?top_k=2", json={"pixels": digits.images[0].tolist()})
    assert len(answer.json()["probabilities"]) == 2


async def test_over_http_the_answers_are_those_of_the_network_to_the_last_image(
    app: FastAPI, client: httpx.AsyncClient, digits: Dataset
) -> None:
    services: Services = app.state.services
    network = services.predictor.serving.network
    expected = network.predict(network.config.input.to_features(digits.images[:256])).argmax(axis=1)
    for start in range(0, 256, 64):
        files = [("file", (f"{n}.png", png(digits.images[n]), "image/png")) for n in range(start, start + 64)]
        answer = await client.post("/predict", files=files)
        labels = [int(p["label"]) for p in answer.json()["predictions"]]
        assert labels == expected[start : start + 64].tolist()


async def test_a_version_or_an_alias_can_be_asked_for(app: FastAPI, client: httpx.AsyncClient, digits: Dataset) -> None:
    services: Services = app.state.services
    weights, details = half_trained()
    made = services.registry.publish("mnist", weights, details)
    services.registry.promote("mnist", "candidate", made.version)
    expected = load(weights).predict(digits.images[:1].reshape(1, 784).astype(np.float32) / np.float32(255))
    body = {"pixels": digits.images[0].tolist()}
    for query in (f"version={made.version}", "alias=candidate", f"model=mnist&version={made.version}"):
        answer = (await client.post(f"/predict?{query}", json=body)).json()
        assert answer["version"] == made.version
        assert answer["confidence"] == pytest.approx(float(expected.max()), rel=1e-5)
    assert (await client.post("/predict", json=body)).json()["version"] == 1
    for query in ("version=99", "alias=nothing", "model=nothing", "model=nothing&version=1"):
        assert_problem(await client.post(f"/predict?{query}", json=body), 404, "not_found")
    assert_problem(await client.post("/predict?model=../x", json=body), 422)


async def test_a_request_id_is_taken_over_if_it_is_one(client: httpx.AsyncClient) -> None:
    for given, kept in (("my-id.7", True), ("x" * 65, False), ("a b", False), ("<b>", False)):
        answer = await client.get("/health/live", headers={"X-Request-ID": given})
        assert (answer.headers["x-request-id"] == given) is kept


JSON = {"Content-Type": "application/json"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 415),
        (b"", {"Content-Type": "image/png"}, 422),
        (b"hello, I am a text", {"Content-Type": "image/png"}, 415),
        (b"\x89PNG\r\n\x1a\n trunc", {"Content-Type": "image/png"}, 422),
        (b"x=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"x", {"Content-Type": "text/plain"}, 415),
        (b"", JSON, 400),
        (b"{", JSON, 400),
        (b"\xff\xfe", JSON, 400),
        (b'{"pixels": NaN}', JSON, 400),
        (b'{"pixels": [[1e999]]}', JSON, None),
        (b'{"image": "\\ud800"}', JSON, 400),
        (b"null", JSON, 422),
        (b"[]", JSON, 422),
        (b"{}", JSON, 422),
        (b'{"pixels": [], "image": ""}', JSON, 422),
        (b'{"pixels": []}', JSON, 422),
        (b'{"pixels": "abc"}', JSON, 422),
        (b'{"pixels": {"0": 1}}', JSON, 422),
        (b'{"pixels": [[1, 2], [3]]}', JSON, 422),
        (b'{"pixels": ' + b"[" * 200 + b"]" * 200 + b"}", JSON, 422),
        (b'{"pixels": [' + b"256," * 783 + b"0]}", JSON, 422),
        (b'{"pixels": [' + b"-1," * 783 + b"0]}", JSON, 422),
        (b'{"pixels": [' + b"1.5," * 783 + b"0]}", JSON, 422),
        (b'{"pixels": [' + b"true," * 783 + b"false]}", JSON, 422),
        (b'{"pixels": [' + b"99999999999999999999999," * 783 + b"0]}", JSON, 422),
        (b'{"pixels": [' + b"255," * 783 + b"255]}", JSON, 422),
        (b'{"image": "%%%"}', JSON, 422),
        (b'{"image": 7}', JSON, 422),
        (b'{"images": []}', JSON, 422),
        (b'{"images": "x"}', JSON, 422),
        (b'{"images": [' + b'"",' * 64 + b'""]}', JSON, 413),
        (b"", {"Content-Type": "multipart/form-data"}, 400),
        (b"garbage", MULTIPART, 400),
        (b"--b\r\n\r\n", MULTIPART, 400),
        (b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n--b--\r\n', MULTIPART, 422),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n', MULTIPART, 422),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\r\n--b--\r\n',
            MULTIPART,
            422,
        ),
        (b"--b--\r\n", MULTIPART, 422),
    ],
)
async def test_bad_bodies_are_answered_with_what_is_wrong(
    content: bytes, headers: dict[str, str], status: int | None, client: httpx.AsyncClient
) -> None:
    answer = await client.post("/predict", content=content, headers=headers)
    assert 400 <= answer.status_code < 500
    assert_problem(answer, status or answer.status_code)


@pytest.mark.parametrize("query", ["top_k=0", "top_k=x", "version=0", "version=1.5", "version=" + "9" * 400])
async def test_bad_queries_are_named(query: str, client: httpx.AsyncClient, digits: Dataset) -> None:
    answer = await client.post(f"/predict?{query}", json={"pixels": digits.images[0].tolist()})
    assert assert_problem(answer, 422)["field"] == query.partition("=")[0]


@pytest.mark.parametrize(
    "path", ["/nothing", "/predict/more", "/models/nothing", "/train/nothing/x", "/%00", "/docs/static/../app.py"]
)
async def test_unknown_routes_are_404_in_the_one_shape(path: str, client: httpx.AsyncClient) -> None:
    assert_problem(await client.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("DELETE", "/models", "GET, HEAD"),
        ("PATCH", "/train", "GET, HEAD, POST"),
        ("POST", "/docs", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
    ],
)
async def test_wrong_methods_say_which_are_right(
    method: str, path: str, allowed: str, client: httpx.AsyncClient
) -> None:
    answer = await client.request(method, path)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


async def test_a_body_over_the_limit_is_refused_in_every_form(settings: Settings, client: httpx.AsyncClient) -> None:
    large = bytes(settings.max_body_bytes + 1)
    for answer in (
        await client.post("/predict", content=large, headers={"Content-Type": "image/png"}),
        await client.post("/predict", content=large, headers=JSON),
        await client.post("/predict", files={"file": large}),
        await client.post("/predict", files={"file": bytes(settings.max_image_bytes + 1)}),
        await client.post("/train", content=b" " * (settings.max_json_bytes + 1), headers=JSON),
    ):
        assert_problem(answer, 413, "payload_too_large")


class _Requests(logging.Handler):
    """Notes to which request each error in the log belongs: formatters write it into the line."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.ids: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.ids.append((record.getMessage(), log_context().get("request_id")))


async def test_an_error_of_our_own_is_a_500_without_a_trace_and_the_service_goes_on(
    app: FastAPI, client: httpx.AsyncClient, digits: Dataset
) -> None:
    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("a secret")

    handler = _Requests()
    logging.getLogger().addHandler(handler)
    try:
        answer = await client.get("/broken")
    finally:
        logging.getLogger().removeHandler(handler)
    body = assert_problem(answer, 500, "internal_error")
    assert "secret" not in answer.text
    assert ("the request failed", body["request_id"]) in handler.ids
    assert (await client.post("/predict", json={"pixels": digits.images[0].tolist()})).status_code == 200


async def test_the_loop_goes_on_answering_while_large_images_are_decoded(client: httpx.AsyncClient) -> None:
    large = np.zeros((2000, 2000), np.uint8)
    large[500:1500, 900:1100] = 255
    image = base64.b64encode(png(large)).decode()
    batch = asyncio.create_task(client.post("/predict", json={"images": [image] * 8}))
    answered = 0
    while not batch.done():
        assert (await client.get("/health/live")).status_code == 200
        answered += 1
        await asyncio.sleep(0)  # nothing in this request makes the loop turn
    assert [answer["label"] for answer in (await batch).json()["predictions"]] == ["1"] * 8
    assert answered >= 10


async def test_a_long_or_deep_list_of_pixels_is_refused_at_once(client: httpx.AsyncClient) -> None:
    row = [0] * 100_000
    for pixels in ([row] * 28, [row], [[[row]]], [[[0] * 100] * 28] * 28, [True] * 784, [2**70] * 784, ["1"] * 784):
        assert_problem(await client.post("/predict", json={"pixels": pixels}), 422, "invalid_input")


async def test_every_example_of_the_description_works_when_it_is_sent(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()["paths"]["/predict"]["post"]
    asked = {parameter["name"] for parameter in described["parameters"]}
    assert {"model", "version", "alias", "top_k", "explain"} <= asked
    forms = described["requestBody"]["content"]
    assert {"multipart/form-data", "application/json", "image/png", "application/octet-stream"} <= set(forms)
    examples = forms["application/json"]["examples"]
    assert set(examples) == {"image", "pixels", "images", "instances"}
    for name, example in examples.items():
        answer = await client.post("/predict?explain=true", json=example["value"])
        assert answer.status_code == 200, (name, answer.text)
        read = answer.json().get("predictions", [answer.json()])
        assert [prediction["label"] for prediction in read] == ["1"] * len(read)
    file = base64.b64decode(examples["image"]["value"]["image"])
    for sent in (
        await client.post("/predict", files={"file": file}),
        await client.post("/predict", content=file, headers={"Content-Type": "image/png"}),
    ):
        assert sent.json()["label"] == "1"
