"""The registry over HTTP, and the predictor that follows it."""

import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.api.app import create_app
from service.registry.bundled import install_bundled_models
from service.registry.registry import Registry
from service.registry.store import open_store
from service.services import Services
from service.serving.predictor import Predictor
from service.settings import Settings
from tests.service.conftest import half_trained
from tests.service.test_predict import assert_problem
from training import Dataset


@pytest.fixture
def second(app: FastAPI) -> int:
    """Another version of the model that serves."""
    services: Services = app.state.services
    return services.registry.publish("mnist", *half_trained()).version


async def test_models_and_versions_are_shown_with_their_manifests(client: httpx.AsyncClient, second: int) -> None:
    model = next(model for model in (await client.get("/models")).json()["models"] if model["model"] == "mnist")
    assert [version["version"] for version in model["versions"]] == [second, 1]
    assert model["aliases"][0]["alias"] == "production"
    version = (await client.get("/models/mnist/versions/1")).json()
    assert version["aliases"] == ["production"]
    assert version["manifest"]["metrics"]["test_accuracy"] >= 0.98


async def test_a_promotion_answers_the_next_request_and_can_be_rolled_back(
    client: httpx.AsyncClient, second: int, digits: Dataset
) -> None:
    body = {"pixels": digits.images[0].tolist()}
    for version in (second, 1):
        answer = await client.put("/models/mnist/aliases/production", json={"version": version})
        assert answer.status_code == 200, answer.text
        assert (await client.post("/predict", json=body)).json()["version"] == version
    history = (await client.get("/models/mnist/aliases/production/history")).json()
    assert [state["version"] for state in history] == [1, second, 1]
    assert 'glyphserve_model_info{model="mnist",version="1"} 1.0' in (await client.get("/metrics")).text


async def test_a_promotion_can_ask_that_nobody_was_faster(client: httpx.AsyncClient, second: int) -> None:
    etag = (await client.get("/models/mnist/aliases/production")).headers["etag"]
    path = "/models/mnist/aliases/production"
    first = await client.put(path, json={"version": second}, headers={"If-Match": etag})
    assert first.status_code == 200
    late = await client.put(path, json={"version": 1}, headers={"If-Match": etag})
    assert_problem(late, 412, "precondition_failed")
    again = await client.put(path, json={"version": 1}, headers={"If-Match": first.headers["etag"]})
    assert again.status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("mnist/aliases/production", {"version": 99}, {}, 404),
        ("nothing/aliases/production", {"version": 1}, {}, 404),
        ("mnist/aliases/UP", {"version": 1}, {}, 422),
        ("mnist/aliases/production", {"version": 0}, {}, 422),
        ("mnist/aliases/production", {"version": "one"}, {}, 422),
        ("mnist/aliases/production", {"version": "1"}, {}, 422),
        ("mnist/aliases/production", {"version": 1.0}, {}, 422),
        ("mnist/aliases/production", {"version": True}, {}, 422),
        ("mnist/aliases/production", {"version": 1, "reason": "two\nlines"}, {}, 422),
        ("mnist/aliases/production", {"version": 1, "reason": "\x1b[2J"}, {}, 422),
        ("mnist/aliases/production", {"version": 1, "candidate": 1, "share": "0.5"}, {}, 422),
        ("mnist/aliases/production", {"version": 1, "surprise": 1}, {}, 422),
        ("mnist/aliases/production", {}, {}, 422),
        ("mnist/aliases/production", {"version": 1}, {"If-Match": "soon"}, 422),
    ],
)
async def test_impossible_promotions_are_refused(
    path: str, body: dict[str, object], headers: dict[str, str], status: int, client: httpx.AsyncClient
) -> None:
    assert_problem(await client.put(f"/models/{path}", json=body, headers=headers), status)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "version is missing"),
        ({"version": "1"}, "version should be a valid integer, not '1'"),
        ({"version": 1, "surprise": 1}, "surprise is not a known field"),
        ({"version": 1, "mode": "sun"}, "mode should be 'canary' or 'shadow', not 'sun'"),
    ],
)
async def test_an_impossible_promotion_is_told_what_was_expected_and_what_came(
    body: dict[str, object], detail: str, client: httpx.AsyncClient
) -> None:
    assert_problem(answer := await client.put("/models/mnist/aliases/production", json=body), 422)
    assert answer.json()["detail"] == detail


@pytest.mark.parametrize("path", ["mnist/versions/99", "mnist/versions/x", "mnist/aliases/nothing", "UP"])
async def test_what_is_not_there_is_not_found(path: str, client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/models/{path}")
    assert_problem(answer, answer.status_code)
    assert answer.status_code in (404, 422)


async def test_a_version_that_went_bad_leaves_the_old_one_serving_and_is_told(
    app: FastAPI, client: httpx.AsyncClient, settings: Settings, second: int, digits: Dataset
) -> None:
    services: Services = app.state.services
    other = Predictor(services.registry, "mnist", "production", on_reload=lambda _: None)  # a replica that is not told
    other.refresh()
    services.registry.promote("mnist", "production", second)
    Path(settings.store_location, "models", "mnist", str(second), "weights.npz").write_bytes(b"rotten")
    other.refresh()
    assert other.serving.version == 1
    assert "damaged" in str(other.last_error)
    services.predictor.refresh()
    ready = (await client.get("/health/ready")).json()
    assert ready["version"] == 1
    assert "damaged" in ready["trouble"]
    assert_problem(await client.put("/models/mnist/aliases/production", json={"version": second}), 503, "corrupt_model")
    body = {"pixels": digits.images[0].tolist()}
    assert (await client.post("/predict", json=body)).json()["version"] == 1
    services.registry.promote("mnist", "production", 1)
    services.predictor.refresh()
    assert (await client.get("/health/ready")).json()["trouble"] is None


@pytest.mark.parametrize("damaged", ["2/weights.npz", "2/manifest.json", "aliases/production/00000002.json"])
async def test_a_service_that_starts_on_a_damaged_version_serves_the_one_before(
    damaged: str, settings: Settings, digits: Dataset
) -> None:
    registry = Registry(open_store(settings.store_location))
    install_bundled_models(registry, "production")
    registry.publish("mnist", *half_trained())
    registry.promote("mnist", "production", 2)
    Path(settings.store_location, "models", "mnist", damaged).write_bytes(b"rotten")
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["version"]) == (200, 1)
        assert "damaged" in ready.json()["trouble"]
        assert "glyphserve_model_trouble 1.0" in (await client.get("/metrics")).text
        assert (await client.post("/predict", json={"pixels": digits.images[0].tolist()})).json()["version"] == 1
        await client.put("/models/mnist/aliases/production", json={"version": 1})
        assert "glyphserve_model_trouble 0.0" in (await client.get("/metrics")).text


async def test_a_service_without_a_model_is_live_but_not_ready(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, model="other")
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        assert (await client.get("/health/live")).json() == {"live": True}
        answer = await client.get("/health/ready")
        assert_problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        assert_problem(await client.post("/predict", json={"pixels": [0] * 784}), 503)


async def test_metrics_are_prometheus_text_that_counts_by_route_template(
    client: httpx.AsyncClient, digits: Dataset
) -> None:
    for digit in digits.images[:3]:
        await client.post("/predict", json={"pixels": digit.tolist()})
    await client.post("/predict", content=b"x", headers={"Content-Type": "image/png"})
    await client.get("/models/mnist/versions/1")
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'glyphserve_requests_total{code="200",method="POST",route="/predict"} 3.0' in answer.text
    assert 'route="/models/{name}/versions/{version}"' in answer.text
    assert 'glyphserve_images_rejected_total{reason="unsupported_media_type"} 1.0' in answer.text
    assert "glyphserve_prediction_confidence_count 3.0" in answer.text


async def test_the_docs_need_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert "http://" not in page.replace("http://localhost", "")
    assert "https://" not in page
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/docs/static/{name}" in page
        assert (await client.get(f"/docs/static/{name}")).status_code == 200


async def test_the_docs_bear_a_strict_content_policy(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert re.findall(r"<script[^>]*>", page) == re.findall(r'<script src="[^"]+">', page) != []
    assert " style=" not in page
    assert " on" not in re.sub(r">[^<]*<", "><", page)
    start = await client.get("/docs/start.js")
    assert start.headers["content-type"].startswith("text/javascript")


async def test_every_example_of_the_description_is_read_as_a_one(client: httpx.AsyncClient) -> None:
    description = (await client.get("/openapi.json")).json()
    examples = description["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert set(examples) == {"image", "pixels", "images", "instances"}
    for example in examples.values():
        answer = (await client.post("/predict", json=example["value"])).json()
        assert {read["label"] for read in answer.get("predictions", [answer])} == {"1"}


async def test_a_method_that_nobody_knows_is_counted_as_other(client: httpx.AsyncClient) -> None:
    assert_problem(await client.request("BREW", "/predict"), 405)
    text = (await client.get("/metrics")).text
    assert 'method="other"' in text
    assert "BREW" not in text


async def test_the_description_tells_every_form_of_a_prediction_and_the_shape_of_errors(
    client: httpx.AsyncClient,
) -> None:
    description = (await client.get("/openapi.json")).json()
    forms = description["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "image/png", "image/jpeg", "application/json"} <= set(forms)
    for path, operations in description["paths"].items():
        kind = "application/json" if path.startswith(("/v1", "/v2")) else "application/problem+json"
        for operation in operations.values():
            assert list(operation["responses"]["default"]["content"]) == [kind]
