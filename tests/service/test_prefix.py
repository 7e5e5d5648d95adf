"""Behind a proxy that takes a prefix off: every address that the service tells leads back through the proxy."""

import asyncio
from urllib.parse import urljoin

import httpx
import pytest
from fastapi import FastAPI

from tests.service.test_predict import assert_problem
from training import Dataset

OUTSIDE = "https://digits.example/glyph"


async def test_no_address_with_a_slash_at_its_end_is_redirected(client: httpx.AsyncClient, app: FastAPI) -> None:
    description = await asyncio.to_thread(app.openapi)
    addresses = {path: methods for path, methods in description["paths"].items() if not path.endswith("/")}
    assert len(addresses) > 30
    for path, methods in addresses.items():
        for method in methods:
            answer = await client.request(method, path.replace("{version}", "1") + "/")
            assert answer.status_code >= 400, (method, path)
            assert "location" not in answer.headers
    for path in ("/predict/", "/docs/", "/page/", "/page", "/docs/static", "/docs/static/", "/train//"):
        answer = await client.get(path)
        assert_problem(answer, 404, "not_found")
        assert ("remove the trailing slash" in answer.json()["detail"]) == path.endswith("/")


async def test_locations_lead_back_through_the_proxy(client: httpx.AsyncClient, digits: Dataset) -> None:
    job = await client.post("/train", json={"recipe": "starter", "promote": "never"})
    assert urljoin(f"{OUTSIDE}/train", job.headers["location"]) == f"{OUTSIDE}/train/{job.json()['id']}"
    sample = await client.post("/samples", json={"pixels": digits.images[0].tolist(), "label": "7"})
    there = urljoin(f"{OUTSIDE}/samples", sample.headers["location"])
    assert there == f"{OUTSIDE}/samples/{sample.json()['id']}?model=mnist"
    for asked, answer in (("/train", job), ("/samples", sample)):
        inside = urljoin(f"http://localhost{asked}", answer.headers["location"])
        assert (await client.get(inside)).json()["id"] == answer.json()["id"]


async def test_the_description_says_that_its_paths_are_below_its_own_folder(app: FastAPI) -> None:
    (server,) = (await asyncio.to_thread(app.openapi))["servers"]
    for place, base in (
        (f"{OUTSIDE}/openapi.json", f"{OUTSIDE}/"),
        ("http://localhost:8000/openapi.json", "http://localhost:8000/"),
    ):
        assert urljoin(place, server["url"]) == base


@pytest.mark.parametrize("address", ["/", "/docs", "/docs/start.js", "/page/main.js", "/page/prediction.js"])
async def test_no_page_has_an_address_that_begins_at_the_root(address: str, client: httpx.AsyncClient) -> None:
    page = (await client.get(address, headers={"Accept": "text/html"})).text
    assert page
    for opening in (
        'href="/',
        'src="/',
        'fetch("/',
        'get("/',
        'ask("/',
        'send("POST", "/',
        "get(`/",
        "ask(`/",
        'url: "/',
    ):
        assert opening not in page
