import asyncio
import base64
import gzip
import json
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.inference.explain import explain
from service.services import Services
from service.serving.batch_invariant import batch_invariant_forward
from service.settings import Settings
from tests.service.conftest import half_trained, png
from tests.service.test_inference_v2 import assert_refused
from training import Dataset
from training.recipes.model_zoo import models_dir
from training.types import Floats

MODEL = "/v1/models/mnist"


@pytest.fixture
def reference(app: FastAPI, digits: Dataset) -> Floats:
    """What training's network says of the first four digits by the very weights that serve, to the bit."""
    services: Services = app.state.services
    network = services.predictor.serving.network
    return batch_invariant_forward(network)(network.config.input.to_features(digits.images[:4]))


async def answered(client: httpx.AsyncClient, path: str, body: Any) -> Any:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def exactly(rows: Any, expected: Floats) -> bool:
    return np.array(rows, np.float32).tobytes() == expected.tobytes()


async def test_predict_answers_rows_of_probabilities(
    client: httpx.AsyncClient, digits: Dataset, reference: Floats
) -> None:
    images = digits.images[:4]
    named = [{"image": image} for image in images.tolist()]
    shapes = [images.tolist(), images.reshape(4, 784).tolist(), images[..., None].tolist(), images[:, None].tolist()]
    for instances in (*shapes, named):
        for path in (f"{MODEL}:predict", f"{MODEL}%3Apredict", f"{MODEL}/versions/1:predict"):
            body = await answered(client, path, {"instances": instances, "signature_name": "serving_default"})
            assert set(body) == {"predictions"}
            assert exactly(body["predictions"], reference)
    for inputs in (images.tolist(), {"image": images.tolist()}):
        body = await answered(client, f"{MODEL}/labels/production:predict", {"inputs": inputs})
        assert set(body) == {"outputs"}
        assert exactly(body["outputs"], reference)
    floats = (images / np.float32(255)).tolist()
    body = await answered(client, f"{MODEL}:predict", {"instances": floats})
    assert np.allclose(body["predictions"], reference, atol=1e-6)


async def test_encoded_images_come_as_binary_values(
    client: httpx.AsyncClient, digits: Dataset, reference: Floats
) -> None:
    values = [{"b64": base64.b64encode(png(image)).decode()} for image in digits.images[:4]]
    for body in ({"instances": values}, {"instances": [{"image": value} for value in values]}, {"inputs": values}):
        (rows,) = (await answered(client, f"{MODEL}:predict", body)).values()
        assert exactly(rows, reference)


async def test_classify_ranks_the_labels(client: httpx.AsyncClient, digits: Dataset, reference: Floats) -> None:
    images = digits.images[:4].tolist()
    for body in ({"examples": [{"image": image} for image in images]}, {"examples": images}, {"instances": images}):
        result = (await answered(client, f"{MODEL}:classify", body))["result"]
        for ranked, row in zip(result, reference, strict=True):
            assert [label for label, _ in ranked] == [str(place) for place in np.argsort(-row, kind="stable")]
            assert [np.float32(value) for _, value in ranked] == sorted(row, reverse=True)


async def test_explain_tells_what_each_pixel_did(
    app: FastAPI, client: httpx.AsyncClient, digits: Dataset, reference: Floats
) -> None:
    services: Services = app.state.services
    images = digits.images[:4]
    body = await answered(client, f"{MODEL}:explain", {"instances": images.tolist()})
    assert exactly(body["predictions"], reference)
    for told, expected in zip(body["explanations"], explain(services.predictor.serving, images), strict=True):
        assert told["label"] == expected.label
        assert np.array_equal(np.array(told["saliency"], np.float32), expected.saliency)
        assert base64.b64decode(told["image"]).startswith(b"\x89PNG")


async def test_versions_and_labels_choose_who_answers(app: FastAPI, client: httpx.AsyncClient, digits: Dataset) -> None:
    services: Services = app.state.services
    made = services.registry.publish("mnist", *half_trained()).version
    services.registry.promote("mnist", "candidate", made)
    body = {"instances": digits.images[:1].tolist()}
    for end, version in (("", 1), ("/versions/1", 1), (f"/versions/{made}", made), ("/labels/candidate", made)):
        for verb in ("predict", "explain", "classify"):
            answer = await client.post(f"{MODEL}{end}:{verb}", json=body)
            assert answer.headers["x-model-version"] == str(version), answer.text
        status = (await client.get(f"{MODEL}{end}")).json()
        assert status["ready"] is True
        assert status["model_version_status"][0] == {
            "version": str(version),
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
        described = (await client.get(f"{MODEL}{end}/metadata")).json()
        assert described["model_spec"] == {"name": "mnist", "signature_name": "", "version": str(version)}
        signature = described["metadata"]["signature_def"]["signature_def"]["serving_default"]
        assert signature["inputs"]["image"]["dtype"] == "DT_UINT8"
        assert signature["outputs"]["probabilities"]["tensor_shape"]["dim"][1] == {"size": "10", "name": ""}


async def test_what_is_not_there_is_404(client: httpx.AsyncClient, digits: Dataset) -> None:
    body = {"instances": digits.images[:1].tolist()}
    for who in ("other", "A", "mnist/versions/9", "mnist/versions/x", "mnist/labels/nothing", "mnist/labels/A"):
        for verb in ("predict", "explain", "classify"):
            assert_refused(await client.post(f"/v1/models/{who}:{verb}", json=body), 404, "not_found")
        assert_refused(await client.get(f"/v1/models/{who}"), 404, "not_found")
        assert_refused(await client.get(f"/v1/models/{who}/metadata"), 404, "not_found")


async def test_a_wrong_method_says_which_is_right(client: httpx.AsyncClient) -> None:
    for path, allowed in (("mnist:predict", "POST"), ("mnist/versions/1:explain", "POST")):
        answer = await client.get(f"/v1/models/{path}")
        assert_refused(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allowed
    answer = await client.post(MODEL, json={})
    assert_refused(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("accept", ["application/json", "*/*", None])
async def test_a_client_is_told_that_the_service_is_alive(accept: str | None, client: httpx.AsyncClient) -> None:
    answer = await client.get("/", headers={"Accept": accept} if accept else {})
    assert answer.json() == {"status": "alive"}


async def test_a_browser_is_led_to_a_page(client: httpx.AsyncClient) -> None:
    answer = await client.get("/", headers={"Accept": "text/html,*/*;q=0.8"}, follow_redirects=True)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


async def test_models_are_listed(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models")).json() == {"models": sorted(model.name for model in models_dir().iterdir())}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"instances": [NaN]}', 400),
        (b'{"instances": []}', 400),
        (b'{"instances": [[1, 2, 3]]}', 400),
        (b'{"instances": [[1e300]]}', 400),
        (b'{"instances": [[' + b"0," * 783 + b"256]]}", 400),
        (b'{"instances": [[' + b"0," * 783 + b"-1]]}", 400),
        (b'{"instances": [[' + b"0," * 783 + b"1.5]]}", 400),
        (b'{"instances": [[' + b"0," * 783 + b"1e300]]}", 400),
        (b'{"instances": [{"b64": "AAAA"}]}', 400),
        (b'{"instances": [{"b64": ""}]}', 400),
        (b'{"instances": [' + b'{"b64": "AAAA"},' * 64 + b'{"b64": "AAAA"}]}', 413),
        (b'{"instances": [' + b"[" * 5000 + b"]" * 5000 + b"]}", 400),
    ],
    ids=range(14),
)
async def test_bad_bodies_are_answered_with_what_is_wrong(
    content: bytes, status: int, client: httpx.AsyncClient
) -> None:
    for verb in ("predict", "explain", "classify"):
        assert_refused(await client.post(f"{MODEL}:{verb}", content=content), status)


async def test_explanations_are_for_small_batches(settings: Settings, client: httpx.AsyncClient) -> None:
    most = settings.max_batch_images
    instances = [[0] * 784] * (most + 1)
    assert_refused(await client.post(f"{MODEL}:explain", json={"instances": instances}), 413)
    assert (await client.post(f"{MODEL}:predict", json={"instances": instances})).status_code == 200


async def test_a_compressed_body_is_read(client: httpx.AsyncClient, digits: Dataset, reference: Floats) -> None:
    body = gzip.compress(json.dumps({"instances": digits.images[:4].tolist()}).encode())
    answer = await client.post(f"{MODEL}:predict", content=body, headers={"Content-Encoding": "gzip"})
    assert exactly(answer.json()["predictions"], reference)


async def test_the_loop_goes_on_answering_while_a_large_batch_is_read(
    client: httpx.AsyncClient, digits: Dataset
) -> None:
    image = np.kron(digits.images[0], np.ones((70, 70), np.uint8))
    value = {"b64": base64.b64encode(png(image)).decode()}
    batch = asyncio.create_task(client.post(f"{MODEL}:predict", json={"instances": [value] * 16}))
    answered = 0
    while not batch.done():
        assert (await client.get("/health/live")).status_code == 200
        answered += 1
        await asyncio.sleep(0)  # nothing in this request makes the loop turn
    assert len((await batch).json()["predictions"]) == 16
    assert answered >= 10
