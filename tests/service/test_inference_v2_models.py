from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.api.limits import ConcurrencyLimiter
from service.services import Services
from service.settings import Settings
from tests.service.conftest import half_trained
from tests.service.test_inference_v2 import PATH, asks, assert_refused, tensor
from training import Dataset
from training.recipes.model_zoo import models_dir

RELEASED = sorted(model.name for model in models_dir().iterdir())


async def found(client: httpx.AsyncClient, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_server_tells_its_name_and_its_extensions(client: httpx.AsyncClient) -> None:
    server = await found(client, "/v2")
    assert server["name"] == "glyphserve"
    assert {"binary_tensor_data", "classification", "model_repository", "statistics"} <= set(server["extensions"])
    assert await found(client, "/v2/health/live") == {"live": True}
    assert await found(client, "/v2/health/ready") == {"ready": True, "live": True}


async def test_nothing_is_ready_before_a_model_is(settings: Settings) -> None:
    from service.api.app import create_app

    app = create_app(settings)  # its lifespan, which loads the model, has not begun
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for path in ("/v2/health/ready", "/v2/models/mnist", "/v2/models/mnist/ready", "/v1/models/mnist"):
            assert_refused(await client.get(path), 503, "unavailable")
        assert_refused(await client.post(PATH, json=asks(tensor("UINT8", [1, 784], [0] * 784))), 503, "unavailable")
        assert await found(client, "/v2/health/live") == {"live": True}


async def test_a_model_tells_its_tensors(app: FastAPI, client: httpx.AsyncClient) -> None:
    services: Services = app.state.services
    services.registry.publish("mnist", *half_trained(labels=3))
    assert await found(client, "/v2/models") == {"models": RELEASED}
    described = await found(client, "/v2/models/mnist")
    assert described == {
        "name": "mnist",
        "versions": ["1", "2"],
        "platform": "glyphserve_npz",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
        ],
    }
    assert await found(client, "/v2/models/mnist/versions/1") == described
    assert (await found(client, "/v2/models/mnist/versions/2"))["outputs"][0]["shape"] == [-1, 3]
    assert (await found(client, "/v2/models/mnist/versions/2/config"))["output"][0]["dims"] == [3]
    config = await found(client, "/v2/models/mnist/config")
    assert config["max_batch_size"] == services.settings.max_tensor_rows
    assert config["input"] == [{"name": "image", "data_type": "TYPE_UINT8", "dims": [28, 28]}]


async def test_unknown_models_and_versions_are_404(client: httpx.AsyncClient) -> None:
    for name in ("other", "mnist/versions/7", "mnist/versions/x", "mnist/versions/0", "A", "..%00"):
        for end in ("", "/ready", "/config", "/stats"):
            assert_refused(await client.get(f"/v2/models/{name}{end}"), 404, "not_found")
    for end in ("load", "unload"):
        assert_refused(await client.post(f"/v2/repository/models/other/{end}"), 404, "not_found")
        assert_refused(await client.post(f"/v2/repository/models/A/{end}"), 404, "not_found")


async def test_a_version_is_ready_when_it_passes_its_checks(
    app: FastAPI, client: httpx.AsyncClient, settings: Settings
) -> None:
    services: Services = app.state.services
    good, bad, worse = (services.registry.publish("mnist", *half_trained(seed=seed)).version for seed in range(3))
    folder = Path(settings.store_location) / "models" / "mnist"
    (folder / str(bad) / "weights.npz").write_bytes(b"rotten")
    (folder / str(worse) / "manifest.json").write_bytes(b"{}")
    assert await found(client, f"/v2/models/mnist/versions/{good}/ready") == {"name": "mnist", "ready": True}
    for number in (bad, worse):
        assert_refused(await client.get(f"/v2/models/mnist/versions/{number}/ready"), 503, "corrupt_model")
        assert_refused(await client.get(f"/v1/models/mnist/versions/{number}"), 503, "corrupt_model")
    assert await found(client, "/v2/models/mnist/ready") == {"name": "mnist", "ready": True}
    index = [entry for entry in (await client.post("/v2/repository/index")).json() if entry["name"] == "mnist"]
    assert [(entry["version"], entry["state"]) for entry in index] == [
        ("1", "READY"),
        (str(good), "READY"),
        (str(bad), "READY"),  # the index reads manifests; /ready reads the weights
        (str(worse), "UNAVAILABLE"),
    ]
    assert index[-1]["reason"]
    ready = (await client.post("/v2/repository/index", json={"ready": True})).json()
    assert [entry for entry in ready if entry["name"] == "mnist"] == index[:-1]
    status = (await found(client, "/v1/models/mnist"))["model_version_status"]
    assert [(entry["version"], entry["state"]) for entry in status] == [
        ("1", "AVAILABLE"),
        (str(worse), "END"),
        (str(bad), "AVAILABLE"),
        (str(good), "AVAILABLE"),
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b" ", b'{"ready": false}', b'{"ready": null}'])
async def test_the_index_takes_an_empty_body(body: bytes, client: httpx.AsyncClient) -> None:
    answer = await client.post("/v2/repository/index", content=body)
    assert answer.json() == [{"name": name, "version": "1", "state": "READY", "reason": ""} for name in RELEASED]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ready": 1}'])
async def test_the_index_refuses_what_it_cannot_read(body: bytes, client: httpx.AsyncClient) -> None:
    assert_refused(await client.post("/v2/repository/index", content=body), 400)


async def test_load_takes_what_the_alias_means_into_service_at_once(
    app: FastAPI, client: httpx.AsyncClient, digits: Dataset
) -> None:
    services: Services = app.state.services
    made = services.registry.publish("mnist", *half_trained()).version
    services.registry.promote("mnist", "production", made)
    for content in (b"", b"{}"):
        answer = await client.post("/v2/repository/models/mnist/load", content=content)
        assert (answer.status_code, answer.content) == (200, b"")
    body = asks(tensor("UINT8", [1, 28, 28], digits.images[0].tolist()))
    assert (await client.post(PATH, json=body)).json()["model_version"] == str(made)


async def test_load_tells_why_a_version_cannot_serve_and_the_old_one_goes_on(
    app: FastAPI, client: httpx.AsyncClient, settings: Settings
) -> None:
    services: Services = app.state.services
    made = services.registry.publish("mnist", *half_trained()).version
    services.registry.promote("mnist", "production", made)
    (Path(settings.store_location) / "models" / "mnist" / str(made) / "weights.npz").write_bytes(b"rotten")
    assert_refused(await client.post("/v2/repository/models/mnist/load"), 503)
    assert (await client.post(PATH, json=asks(tensor("UINT8", [1, 784], [0] * 784)))).status_code == 200


async def test_another_model_is_loaded_and_unloaded_but_the_serving_one_stays(
    app: FastAPI, client: httpx.AsyncClient, settings: Settings
) -> None:
    services: Services = app.state.services
    services.registry.publish("other", *half_trained())
    assert_refused(await client.post("/v2/repository/models/other/load"), 404)  # nothing says which version
    services.registry.promote("other", "production", 1)
    body = asks(tensor("UINT8", [1, 784], [0] * 784))
    for end in ("load", "unload", "load"):
        answer = await client.post(f"/v2/repository/models/other/{end}", json={"parameters": {}})
        assert answer.status_code == 200, answer.text
    assert (await client.post("/v2/models/other/infer", json=body)).json()["model_name"] == "other"
    (Path(settings.store_location) / "models" / "other" / "1" / "weights.npz").write_bytes(b"rotten")
    assert (await client.post("/v2/models/other/infer", json=body)).status_code == 200  # still in memory
    assert (await client.post("/v2/repository/models/other/unload")).status_code == 200
    assert_refused(await client.post("/v2/models/other/infer", json=body), 503, "corrupt_model")
    assert_refused(await client.post("/v2/repository/models/other/load"), 503, "corrupt_model")
    assert_refused(await client.post("/v2/repository/models/mnist/unload"), 409, "conflict")


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"parameters": 1}', b'{"parameters": {"config": "{}"}}', b'{"parameters": {"file:a": ""}}']
)
async def test_a_request_brings_no_model(body: bytes, client: httpx.AsyncClient) -> None:
    assert_refused(await client.post("/v2/repository/models/mnist/load", content=body), 400)


async def test_statistics_count_requests_images_and_time(client: httpx.AsyncClient, digits: Dataset) -> None:
    (before,) = (await found(client, "/v2/models/mnist/stats"))["model_stats"]
    assert (before["inference_count"], before["last_inference"], before["batch_stats"]) == (0, 0, [])
    for rows in (1, 3, 3, 100):
        data = digits.images[:rows].tolist()
        assert (await client.post(PATH, json=asks(tensor("UINT8", [rows, 28, 28], data)))).status_code == 200
    for _ in range(2):
        assert_refused(await client.post(PATH, json={}), 400)
    everything = (await found(client, "/v2/models/stats"))["model_stats"]
    (after,) = (entry for entry in everything if entry["name"] == "mnist")
    assert (after["name"], after["version"]) == ("mnist", "1")
    assert (after["inference_count"], after["execution_count"]) == (107, 4)
    assert after["last_inference"] > 1_700_000_000_000
    stats = after["inference_stats"]
    assert (stats["success"]["count"], stats["fail"]["count"]) == (4, 2)
    spent = [stats[name] for name in ("queue", "compute_input", "compute_infer", "compute_output")]
    assert [part["count"] for part in spent] == [4] * 4
    assert sum(part["ns"] for part in spent) == stats["success"]["ns"] > 0
    assert [(entry["batch_size"], entry["compute_infer"]["count"]) for entry in after["batch_stats"]] == [
        (1, 1),
        (3, 2),
        (100, 1),
    ]
    assert await found(client, "/v2/models/mnist/versions/1/stats") == {"model_stats": [after]}


async def test_every_example_of_the_description_is_answered(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()["paths"]
    places = {"{name}": "mnist", "{version}": "1", "{alias}": "production"}
    tried = 0
    for path, operations in described.items():
        body = operations.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        if not path.startswith(("/v1/", "/v2/")):
            continue
        for place, value in places.items():
            path = path.replace(place, value)
        for example in body.get("examples", {}).values():
            answer = await client.post(path, json=example["value"])
            assert answer.status_code == 200, (path, answer.text)
            tried += 1
    assert tried == 2 * 2 + 3 * (2 + 2 + 1)  # V2: two bodies, with a version or without; V1: three ways to name a model


async def test_errors_are_described_with_the_media_type_that_they_have(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()["paths"]
    for path, media_type in (("/v2/models/{name}", "application/json"), ("/models/{name}", "application/problem+json")):
        assert list(described[path]["get"]["responses"]["default"]["content"]) == [media_type]
        assert (await client.get(path.replace("{name}", "nothing"))).headers["content-type"] == media_type


def test_the_probes_of_both_protocols_need_no_place_in_a_full_server() -> None:
    door = ConcurrencyLimiter(1, 0)
    assert not any(door.applies_to(path) for path in ("/", "/v2/health/live", "/v2/health/ready", "/health/live"))
    assert all(door.applies_to(path) for path in (PATH, "/v1/models/mnist:predict", "/v2/repository/index"))
