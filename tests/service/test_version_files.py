"""A version's files over HTTP."""

import json
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.registry.bundled import install_bundled_models
from service.registry.registry import Registry
from service.registry.store import Store
from service.services import Services
from tests.service.conftest import half_trained
from tests.service.test_predict import assert_problem
from training import Dataset, load

VERSION = "/models/mnist/versions/1"


async def test_weights_can_be_downloaded_and_loaded(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{VERSION}/weights.npz")
    assert load(answer.content).config.layers[0] == 784
    manifest = (await client.get(VERSION)).json()["manifest"]
    assert answer.headers["etag"] == f'"{manifest["weights_sha256"]}"'


@pytest.mark.onnx
async def test_a_version_can_be_run_elsewhere_as_onnx(app: FastAPI, client: httpx.AsyncClient, digits: Dataset) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime (the dev extra)")
    pytest.importorskip("onnx", reason="needs onnx (the onnx extra)")
    answer = await client.get(f"{VERSION}/model.onnx")
    assert answer.status_code == 200, answer.text
    session = runtime.InferenceSession(answer.content)
    network = app.state.services.predictor.serving.network
    features = network.config.input.to_features(digits.images[:50])
    (outputs,) = session.run(None, {session.get_inputs()[0].name: features})
    np.testing.assert_allclose(outputs, network.predict(features), atol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map["labels"]) == [str(n) for n in range(10)]
    assert_problem(await client.get("/models/mnist/versions/99/model.onnx"), 404, "not_found")


async def test_without_onnx_the_answer_says_what_to_install(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)  # as Python itself marks a package that cannot be imported
    answer = await client.get(f"{VERSION}/model.onnx")
    assert_problem(answer, 404, "not_found")
    assert "glyphserve[onnx]" in answer.json()["detail"]


async def test_a_card_and_pictures_come_with_their_version(app: FastAPI, client: httpx.AsyncClient) -> None:
    services: Services = app.state.services
    files = {"card.md": "# ½".encode(), "loss.svg": b"<svg/>", "../x.svg": b"", "x.html": b"<script>"}
    version = services.registry.publish("mnist", *half_trained(), files=files).version
    path = f"/models/mnist/versions/{version}"
    assert (await client.get(path)).json()["files"] == ["card.md", "loss.svg"]
    card = await client.get(f"{path}/card.md")
    assert (card.text, card.headers["content-type"]) == ("# ½", "text/markdown; charset=utf-8")
    picture = await client.get(f"{path}/loss.svg")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in picture.headers["content-security-policy"]
    for missing in ("x.html", "other.svg", "manifest.json", "..%2fx.svg", "promoting"):
        assert_problem(await client.get(f"{path}/{missing}"), 404, "not_found")
    assert_problem(await client.get("/models/mnist/versions/99/card.md"), 404, "not_found")


def test_released_models_bring_their_files(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "released" / "odd" / "1"
    folder.mkdir(parents=True)
    weights, details = half_trained()
    (folder / "weights.npz").write_bytes(weights)
    (folder / "manifest.json").write_text(json.dumps(details))
    (folder / "card.md").write_text("# Odd")
    monkeypatch.setattr("service.registry.bundled.models_dir", lambda: tmp_path / "released")
    registry = Registry(store)
    install_bundled_models(registry, "production")
    assert registry.files("odd", 1) == ["card.md"]
    assert registry.file("odd", 1, "card.md") == b"# Odd"


def test_a_new_store_gets_the_newest_release_alone_as_its_first_version(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for release in (2, 9, 10):
        folder = tmp_path / "released" / "odd" / str(release)
        folder.mkdir(parents=True)
        weights, details = half_trained(seed=release)
        (folder / "weights.npz").write_bytes(weights)
        (folder / "manifest.json").write_text(json.dumps(details))
    monkeypatch.setattr("service.registry.bundled.models_dir", lambda: tmp_path / "released")
    registry = Registry(store)
    install_bundled_models(registry, "production")
    (only,) = registry.manifests("odd")
    assert (only.version, only.weights_sha256) == (1, details["weights_sha256"])
    assert registry.alias("odd", "production").version == 1
