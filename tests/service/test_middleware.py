"""What holds for every route: HEAD, methods that are not there, hosts; over a real server where framing counts."""

import asyncio
import http.client
import re
import time
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI

from tests.hostile.judge import ask
from tests.hostile.request import Hostile
from tests.service.conftest import PATIENCE_SECONDS, Server
from tests.service.processes import ENDLESS
from tests.service.test_predict import assert_problem


def read_addresses(app: FastAPI) -> Iterator[str]:
    """List what can be read; events have a test of their own."""
    for path, operations in app.openapi()["paths"].items():
        if "get" in operations and not path.endswith("/events"):
            yield (
                path.replace("{name}", "mnist")
                .replace("{version}", "1")
                .replace("{alias}", "production")
                .replace("{file}", "card.md")
            )


async def finished(client: httpx.AsyncClient, address: str) -> httpx.Response:
    """Get what is there when it no longer changes: 202 means that an evaluation is being worked out."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (answer := await client.get(address)).status_code == 202:
        assert time.monotonic() < deadline, address
        await asyncio.sleep(0.05)
    return answer


async def test_what_can_be_read_can_be_asked_for_by_head(app: FastAPI, client: httpx.AsyncClient) -> None:
    addresses = [*read_addresses(app), "/docs", "/docs/static/swagger-ui.css", "/openapi.json", "/nothing"]
    assert len(addresses) > 30
    for address in addresses:
        read, head = await finished(client, address), await client.head(address)
        assert (head.status_code, head.content) == (read.status_code, b""), address
        assert head.headers["content-type"] == read.headers["content-type"], address
        assert set(head.headers) == set(read.headers), address
    assert_problem(await client.get("/nothing"), 404)


async def test_head_is_no_way_around_a_method(client: httpx.AsyncClient) -> None:
    answer = await client.head("/predict")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("address", "allow"),
    [
        ("/predict", "POST"),
        ("/health/live", "GET, HEAD"),
        ("/samples", "DELETE, GET, HEAD, POST"),
        ("/models/mnist/aliases/production", "GET, HEAD, PUT"),
        ("/samples/export", "GET, HEAD"),
        ("/v1/models/mnist:predict", "POST"),
    ],
)
@pytest.mark.parametrize("method", ["OPTIONS", "PATCH", "TRACE"])
async def test_a_method_that_is_not_there_is_answered_with_those_that_are(
    method: str, address: str, allow: str, client: httpx.AsyncClient
) -> None:
    answer = await client.request(method, address)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allow


def test_head_keeps_the_connection_in_order(server: Server) -> None:
    url = httpx.URL(server.url)
    connection = http.client.HTTPConnection(url.host, url.port or 80, timeout=60)
    for address in ("/health/live", "/docs/static/swagger-ui-bundle.js", "/nothing"):
        connection.request("HEAD", address)
        head = connection.getresponse()
        assert head.read() == b""
        connection.request("GET", address)
        answer = connection.getresponse()
        body = answer.read()
        assert (head.status, int(head.headers["content-length"])) == (answer.status, len(body))
    connection.close()


def test_two_hosts_are_none(server: Server) -> None:
    lines = ["GET /health/live HTTP/1.1", "Host: localhost", "Host: 127.0.0.1", "Connection: close", "", ""]
    sent = Hostile("two hosts", "\r\n".join(lines).encode(), frozenset({400}))
    outcome = ask(httpx.URL(server.url).port or 80, sent)
    assert (outcome.status, outcome.complaint) == (400, "")


async def test_a_range_is_answered_by_the_whole_file(client: httpx.AsyncClient) -> None:
    for wanted in ("bytes=0-9", "bytes=-99999999999999999999,5-1", "bytes=99999999-", "lines=1"):
        answer = await client.get("/docs/static/swagger-ui.css", headers={"Range": wanted})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/css; charset=utf-8")


def test_the_head_of_events_does_not_wait_for_them(server: Server) -> None:
    job = server.submit(settings=ENDLESS)
    answer = server.http.head(f"/train/{job['id']}/events")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert server.http.get("/health/live").status_code == 200
    assert server.http.delete(f"/train/{job['id']}").status_code == 200
    server.wait_for(job["id"], "cancelled")  # a worker that is stopped while it ends a job says so with a traceback
    assert server.http.head(f"/train/{job['id']}/events").status_code == 200  # whose stream ends by itself
    server.stop()
    assert "Traceback" not in server.output


async def test_a_host_that_was_refused_is_refused_again(client: httpx.AsyncClient) -> None:
    for host, status in [("evil.example", 421)] * 3 + [
        ("127.0.0.1:8000", 200),
        ("evil.example", 421),
        ("localhost", 200),
    ]:
        assert (await client.get("/models", headers={"Host": host})).status_code == status


@pytest.mark.parametrize("path", ["/predict", "/train", "/models/mnist/rollback", "/v2/models/mnist/infer"])
async def test_an_announced_body_that_does_not_come_does_not_count_as_none(
    path: str, client: httpx.AsyncClient
) -> None:
    """Whatever loses a body on its way must not turn it into "all defaults"."""
    for sent in (b"", b"{}"):
        headers = {"Content-Length": "10", "Content-Type": "application/json"}
        answer = await client.post(path, content=sent, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


def routes_counted(text: str) -> set[str]:
    return set(re.findall(r'glyphserve_requests_total\{[^}]*route="([^"]*)"', text))


async def test_every_route_is_counted_by_its_whole_path(app: FastAPI, client: httpx.AsyncClient) -> None:
    paths = {path for path, operations in app.openapi()["paths"].items() if "get" in operations}
    for path in paths:
        await client.get(re.sub(r"\{[^}]*\}", "1", path))
    for file in ("/page/start.js", "/page/nothing.js", "/docs/static/swagger-ui.css", "/nothing/at/all"):
        await client.get(file)
    counted = routes_counted((await client.get("/metrics")).text)
    assert counted >= paths | {"/page/{path}", "/docs/static/{path}", "unknown"}
    assert {path for path in counted if not path.startswith("/")} == {"unknown"}
    assert "/{job_id}/events" not in counted


def test_schemas_have_names_of_their_own(app: FastAPI) -> None:
    assert [name for name in app.openapi()["components"]["schemas"] if "__" in name] == []
