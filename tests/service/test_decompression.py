import gzip
import json
import zlib
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.services import Services
from service.settings import Settings
from tests.hostile.forms import form, part
from tests.service.conftest import png
from tests.service.test_predict import assert_problem
from training import Dataset

JSON = "application/json"
V1, V2 = "/v1/models/mnist:predict", "/v2/models/mnist/infer"


def requests_of(picture: bytes, pixels: list[int], label: str) -> list[tuple[str, str, str, bytes]]:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 784], "data": pixels}
    return [
        ("POST", "/predict", "image/png", picture),
        ("POST", "/predict", "application/octet-stream", picture),
        ("POST", "/predict", "multipart/form-data; boundary=b", form(part(content=picture))),
        ("POST", "/predict", JSON, json.dumps({"pixels": pixels}).encode()),
        ("POST", f"/samples?label={label}", "image/png", picture),
        ("POST", "/samples", JSON, json.dumps({"pixels": pixels, "label": label}).encode()),
        ("POST", V1, JSON, json.dumps({"instances": [pixels]}).encode()),
        ("POST", V2, JSON, json.dumps({"inputs": [tensor]}).encode()),
        ("POST", "/v2/repository/index", JSON, b'{"ready": true}'),
        ("PUT", "/models/mnist/aliases/candidate", JSON, b'{"version": 1}'),
        ("POST", "/train", JSON, b'{"settings": {"epochs": 1}}'),
    ]


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("x-gzip", gzip.compress)]
)
async def test_every_route_takes_a_compressed_body_as_it_takes_the_body(
    encoding: str, compress: Any, client: httpx.AsyncClient, digits: Dataset
) -> None:
    pixels = digits.images[5].ravel().tolist()
    for method, path, kind, body in requests_of(png(digits.images[5]), pixels, str(digits.labels[5])):
        plain = await client.request(method, path, content=body, headers={"Content-Type": kind})
        assert plain.is_success, (path, kind, plain.text)
        headers = {"Content-Type": kind, "Content-Encoding": encoding}
        answer = await client.request(method, path, content=compress(body), headers=headers)
        assert answer.is_success, (path, kind, answer.text)
        if path == "/predict":
            assert answer.json() | {"request_id": ""} == plain.json() | {"request_id": ""}


@pytest.mark.parametrize("path", ["/predict", "/samples?label=1", "/train", V1, V2])
async def test_a_bomb_and_an_unknown_encoding_are_refused_by_every_route(
    path: str, settings: Settings, client: httpx.AsyncClient, app: FastAPI
) -> None:
    services: Services = app.state.services
    limit = settings.max_json_bytes if path == "/train" else settings.max_body_bytes
    kind = "image/png" if path.startswith(("/predict", "/samples")) else JSON

    async def refused(body: bytes, encoding: str, status: int) -> str:
        headers = {"Content-Type": kind, "Content-Encoding": encoding}
        answer = await client.post(path, content=body, headers=headers)
        assert answer.status_code == status, answer.text
        return str(answer.json()["detail"])

    assert "when decompressed" in await refused(gzip.compress(bytes(limit + 1)), "gzip", 413)
    assert "not gzip" in await refused(b"no such stream", "gzip", 400)
    assert "truncated" in await refused(gzip.compress(b"{}")[:-4], "gzip", 400)
    for encoding in ("br", "zstd", "gzip, deflate"):
        assert "gzip or deflate" in await refused(b"x", encoding, 415)
    assert services.metrics.in_flight == 0


async def test_the_name_of_an_encoding_without_a_body_is_no_matter(client: httpx.AsyncClient) -> None:
    headers = {"Content-Encoding": "br"}
    assert (await client.get("/models", headers=headers)).status_code == 200
    body = {"pixels": [0] * 784}
    assert_problem(
        await client.post("/predict", json=body, headers={"Content-Encoding": "identity"}), 422, "blank_image"
    )
