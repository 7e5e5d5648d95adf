"""What browsers keep is never older than what is served, whatever the dates of the files."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette

from service.api.routes.page import RevalidatedFiles

KEPT = ["/", "/page/prediction.js", "/page/style.css", "/docs", "/docs/start.js", "/docs/static/swagger-ui.css"]
KEPT += ["/docs/static/swagger-ui-bundle.js", "/openapi.json"]
BUILT = 1577836800  # the date that the image gives to every file


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette()
    app.mount("/page", RevalidatedFiles(directory=tmp_path))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


def write(path: Path, text: str) -> None:
    path.write_text(text)
    os.utime(path, (BUILT, BUILT))


async def test_a_word_replaced_by_another_of_equal_length_and_date_is_seen(
    files: httpx.AsyncClient, tmp_path: Path
) -> None:
    write(tmp_path / "a.js", "say('old');")
    first = await files.get("/page/a.js")
    validators = [{"If-None-Match": first.headers["etag"]}, {"If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}]
    assert (await files.get("/page/a.js", headers=validators[0])).status_code == 304
    write(tmp_path / "a.js", "say('new');")
    for headers in validators:
        second = await files.get("/page/a.js", headers=headers)
        assert (second.status_code, second.text) == (200, "say('new');")
    write(tmp_path / "a.js", "say('old');")
    assert (await files.get("/page/a.js")).headers["etag"] == first.headers["etag"], "the content's, not the file's"


@pytest.mark.parametrize("address", KEPT)
async def test_everything_that_a_browser_may_keep_is_asked_about_each_time(
    address: str, client: httpx.AsyncClient, app: FastAPI
) -> None:
    if address == "/openapi.json":  # to make it takes longer than a request may on a busy machine
        await asyncio.to_thread(app.openapi)
    client.headers["Accept"] = "text/html, */*"  # which the page's address asks for
    first = await client.get(address)
    assert first.status_code == 200
    assert first.headers["cache-control"] == "no-cache"
    assert "last-modified" not in first.headers, "it says nothing of the content"
    etag = first.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await client.get(address, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert (again.headers["etag"], again.headers["cache-control"]) == (etag, "no-cache")
    assert (await client.get(address, headers={"If-None-Match": '"other"'})).content == first.content
    head = await client.head(address)
    assert (head.status_code, head.headers["etag"]) == (200, etag)
