"""Versions whose labels and outputs differ in number are never published, promoted or served."""

import json
from hashlib import sha256
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.errors import CorruptModel
from service.registry.registry import Registry
from service.registry.store import open_store
from service.services import Services
from tests.service.conftest import png
from training import MLP, Dataset, MLPConfig
from training.export.npz import to_bytes


def crafted(outputs: int, labels: list[str]) -> tuple[bytes, dict[str, Any]]:
    """Weights with so many outputs, under a manifest that has the right hash and other labels."""
    output = "sigmoid" if outputs == 1 else "softmax"
    weights = to_bytes(MLP(MLPConfig((784, 4, outputs), output=output), np.random.default_rng(0)))
    return weights, {"labels": labels, "weights_sha256": sha256(weights).hexdigest()}


MISFITS = [
    (1, ["A"]),
    (1, []),
    (1, ["A", "B", "C"]),
    (2, ["A"]),
    (2, ["A", "B", "C"]),
    (3, ["A", "B"]),
    (2, ["A", "A"]),
]


@pytest.mark.parametrize(("outputs", "labels"), MISFITS)
def test_labels_that_do_not_fit_the_outputs_are_not_published(outputs: int, labels: list[str], tmp_path: Any) -> None:
    registry = Registry(open_store(str(tmp_path)))
    with pytest.raises(CorruptModel):
        registry.publish("odd", *crafted(outputs, labels))
    assert registry.models() == []


@pytest.mark.parametrize(("outputs", "labels"), MISFITS[:1] + MISFITS[-1:])
async def test_a_version_put_into_the_store_with_such_labels_is_neither_served_nor_promoted(
    outputs: int, labels: list[str], app: FastAPI, client: httpx.AsyncClient, digits: Dataset
) -> None:
    services: Services = app.state.services
    weights, details = crafted(outputs, labels)
    services.registry.store.put("models/odd/1/weights.npz", weights)
    services.registry.store.put("models/odd/1/manifest.json", json.dumps(details).encode())
    services.registry.store.put("models/odd/aliases/production/00000001.json", b'{"version": 1, "reason": "by hand"}')
    picture, image = png(digits.images[0]), {"Content-Type": "image/png"}
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], "data": digits.images[0].ravel().tolist()}
    answers = [
        await client.post("/predict", params={"model": "odd", "version": 1}, content=picture, headers=image),
        await client.post("/predict?explain=true&model=odd&version=1", content=picture, headers=image),
        await client.post("/v2/models/odd/versions/1/infer", json={"inputs": [tensor]}),
        await client.post("/v1/models/odd/versions/1:predict", json={"instances": digits.images[:1].tolist()}),
        await client.put("/models/odd/aliases/other", json={"version": 1}),
    ]
    assert [answer.status_code for answer in answers] == [503] * 5, [answer.text for answer in answers]
    assert {answer.json()["code"] for answer in answers} == {"corrupt_model"}


async def test_a_single_output_with_its_two_labels_is_served_by_every_protocol(
    app: FastAPI, client: httpx.AsyncClient, digits: Dataset
) -> None:
    services: Services = app.state.services
    services.registry.publish("pair", *crafted(1, ["zero", "one"]))
    picture, image = png(digits.images[0]), {"Content-Type": "image/png"}
    read = (
        await client.post("/predict?explain=true&model=pair&version=1", content=picture, headers=image)
    ).raise_for_status()
    assert set(read.json()["probabilities"]) == {"zero", "one"}
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], "data": digits.images[0].ravel().tolist()}
    inferred = (await client.post("/v2/models/pair/versions/1/infer", json={"inputs": [tensor]})).raise_for_status()
    assert inferred.json()["outputs"][0]["shape"] == [1, 2]
    body = {"instances": digits.images[:1].tolist()}
    rows = (await client.post("/v1/models/pair/versions/1:predict", json=body)).raise_for_status()
    assert len(rows.json()["predictions"][0]) == 2
