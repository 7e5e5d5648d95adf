import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from service.inference.explain import explain, saliency_heatmap
from service.services import Services
from tests.service.conftest import half_trained, png
from training import Dataset
from training.evaluation.saliency import gradient_times_input
from training.types import Pixels


def picture(encoded: str) -> Pixels:
    with Image.open(io.BytesIO(base64.b64decode(encoded)), formats=("PNG",)) as image:
        return np.array(image)


def assert_explains(answer: dict[str, Any], digit: Pixels, app: FastAPI) -> None:
    explanation = answer["explanation"]
    network = app.state.services.predictor.serving.network
    offline = gradient_times_input(network, digit[None], np.array([int(answer["label"])]))[0]
    assert explanation["label"] == answer["label"]
    np.testing.assert_array_equal(picture(explanation["image"]), digit)
    saliency = np.array(explanation["saliency"], np.float32)
    np.testing.assert_allclose(saliency, offline, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(picture(explanation["saliency_image"]), saliency_heatmap(saliency))


async def test_one_answer_is_explained_by_what_the_network_computes_offline(
    app: FastAPI, client: httpx.AsyncClient, digits: Dataset
) -> None:
    digit = digits.images[7]
    for answer in (
        await client.post("/predict?explain=true", files={"file": png(digit)}),
        await client.post("/predict?explain=true&top_k=1", json={"pixels": digit.tolist()}),
    ):
        assert answer.status_code == 200, answer.text
        assert_explains(answer.json(), digit, app)


async def test_over_http_the_map_is_bit_for_bit_the_one_of_the_same_version_offline(
    app: FastAPI, client: httpx.AsyncClient, digits: Dataset
) -> None:
    services: Services = app.state.services
    answer = (await client.post("/predict?explain=true", content=png(digits.images[3]))).status_code
    assert answer == 415  # without its type it is no image
    answered = await client.post("/predict?explain=1", files={"file": png(digits.images[3])})
    (offline,) = explain(services.predictor.serving, digits.images[3:4])
    over_http = np.array(answered.json()["explanation"]["saliency"], np.float32)
    np.testing.assert_array_equal(over_http, offline.saliency)


async def test_in_a_batch_each_picture_is_explained_and_a_bad_one_fails_alone(
    app: FastAPI, client: httpx.AsyncClient, digits: Dataset
) -> None:
    contents = [png(digits.images[0]), b"not an image", png(digits.images[1])]
    files = [("file", (f"{number}.png", content, "image/png")) for number, content in enumerate(contents)]
    answers = (await client.post("/predict?explain=true", files=files)).json()["predictions"]
    assert_explains(answers[0], digits.images[0], app)
    assert answers[1]["status"] == 415
    assert "explanation" not in answers[1]
    assert_explains(answers[2], digits.images[1], app)
    none = await client.post("/predict?explain=true", json={"images": ["", ""]})
    assert [answer["code"] for answer in none.json()["predictions"]] == ["invalid_image"] * 2


async def test_an_answer_is_explained_only_when_asked_for(client: httpx.AsyncClient, digits: Dataset) -> None:
    for query in ("", "?explain=false"):
        assert (
            "explanation" not in (await client.post(f"/predict{query}", files={"file": png(digits.images[0])})).json()
        )
    wrong = await client.post("/predict?explain=perhaps", files={"file": png(digits.images[0])})
    assert wrong.status_code == 422
    assert wrong.json()["field"] == "explain"


async def test_a_named_version_is_explained_by_its_own_network(
    app: FastAPI, client: httpx.AsyncClient, digits: Dataset
) -> None:
    services: Services = app.state.services
    made = services.registry.publish("mnist", *half_trained())
    answer = await client.post(f"/predict?explain=true&version={made.version}", files={"file": png(digits.images[0])})
    (offline,) = explain(services.predictor.get("mnist", made.version), digits.images[:1])
    assert answer.json()["explanation"]["label"] == offline.label
    np.testing.assert_array_equal(np.array(answer.json()["explanation"]["saliency"], np.float32), offline.saliency)


@pytest.mark.usefixtures("client")
async def test_a_chosen_class_can_be_explained(app: FastAPI, digits: Dataset) -> None:
    snapshot = app.state.services.predictor.serving
    wanted = [3, 9]
    found = explain(snapshot, digits.images[:2], wanted)
    assert [explanation.label for explanation in found] == ["3", "9"]
    expected = gradient_times_input(snapshot.network, digits.images[:2], np.array(wanted))
    np.testing.assert_array_equal(np.stack([explanation.saliency for explanation in found]), expected)
    assert explain(snapshot, digits.images[:0]) == []


def test_red_speaks_for_and_blue_against() -> None:
    saliency = np.zeros((28, 28), np.float32)
    saliency[3, 4], saliency[5, 6] = 2, -1
    painted = saliency_heatmap(saliency)
    assert painted[3, 4].tolist() == [255, 0, 0]
    assert painted[5, 6].tolist() == [128, 128, 255]
    assert painted[0, 0].tolist() == [255, 255, 255]
    assert (saliency_heatmap(np.zeros((28, 28), np.float32)) == 255).all()


@pytest.mark.parametrize("query", ["explain=true", "explain=true&alias=production"])
async def test_a_blank_picture_is_answered_as_such_also_when_an_explanation_is_asked_for(
    query: str, client: httpx.AsyncClient
) -> None:
    answer = await client.post(f"/predict?{query}", files={"file": png(np.full((40, 40), 7, np.uint8))})
    assert (answer.status_code, answer.json()["code"]) == (422, "blank_image")
