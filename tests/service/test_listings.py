"""Lists come in pages that together hold everything once, and a page costs what it shows, however much there is."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.registry.bundled import install_bundled_models
from service.registry.registry import Registry
from service.registry.retention import prune
from service.registry.store import Store, open_store
from service.services import Services
from service.settings import Settings
from tests.service.conftest import Server, half_trained, publish_many, running_server
from tests.service.test_cli import run

MANY = 5_000


def promote_many(folder: Path, name: str, count: int) -> None:
    """Write entries of the alias `production`, which say in turn that it means version 1 or 2."""
    log = folder / "models" / name / "aliases" / "production"
    log.mkdir(parents=True)
    for generation in range(1, count + 1):
        entry = {"version": 1 + generation % 2, "since": "2026-01-01T00:00:00.000+00:00", "reason": str(generation)}
        (log / f"{generation:08d}.json").write_text(json.dumps(entry))


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on a store with very many versions and promotions of the model `many`."""
    home = tmp_path_factory.mktemp("crowded") / "home"
    folder = Path(Settings(home=home).store_location)
    publish_many(folder, "many", range(1, MANY + 1))
    promote_many(folder, "many", MANY)
    with running_server(home) as server:
        yield server


@pytest.mark.slow
def test_of_thousands_of_versions_the_newest_are_told_to_eight_at_once(crowded: Server) -> None:
    def ask(path: str) -> httpx.Response:
        return httpx.get(f"{crowded.url}{path}", timeout=180)

    for path in ("/models", "/models/many", "/models/many/aliases/production/history", "/v1/models/many"):
        with ThreadPoolExecutor(8) as eight:
            answers = list(eight.map(ask, [path] * 8))
        assert [answer.status_code for answer in answers] == [200] * 8, path
        assert len(answers[0].content) < 400_000, path
    shown = ask("/models/many").json()
    assert [version["version"] for version in shown["versions"]] == list(range(MANY, MANY - 50, -1))
    assert shown["next"] == str(MANY - 49)
    history = ask("/models/many/aliases/production/history")
    assert [state["generation"] for state in history.json()] == list(range(MANY, MANY - 50, -1))
    index = httpx.post(f"{crowded.url}/v2/repository/index", timeout=180).json()
    assert [int(entry["version"]) for entry in index if entry["name"] == "many"] == list(range(MANY - 99, MANY + 1))
    assert "mnist" in {entry["name"] for entry in index}


@pytest.mark.slow
def test_the_commands_show_the_newest(crowded: Server) -> None:
    listed = run("models", "list", "--most", "3", home=crowded.home).stdout
    rows = [line.split() for line in listed.splitlines()]
    assert [row[1] for row in rows if row[:1] == ["many"]] == [str(MANY - 2), str(MANY - 1), str(MANY)]


def test_older_pages_are_there_on_demand(crowded: Server) -> None:
    old = crowded.http.get("/models/many", params={"after": "3"}).json()
    assert ([version["version"] for version in old["versions"]], old["next"]) == ([2, 1], None)
    assert crowded.http.get("/models/many", params={"after": "1"}).json()["versions"] == []
    link = crowded.http.get("/models/many/aliases/production/history", params={"after": 3, "limit": 1}).links["next"]
    assert link["url"] == "?limit=1&after=2"
    assert "next" not in crowded.http.get("/models/many/aliases/production/history?after=3&limit=2").links


async def test_the_pages_together_hold_every_version_model_and_promotion_once(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    services: Services = app.state.services
    made = {name: [services.registry.publish(name, *half_trained(seed=n)).version for n in range(3)] for name in "abc"}
    for version in (1, 2, 3, 1):
        services.registry.promote("a", "production", version)
    for limit in (1, 2, 3, 5, 100):
        for name, numbers in made.items():
            paged = [v["version"] for page in await pages(client, f"/models/{name}", limit) for v in page["versions"]]
            assert paged == numbers[::-1]
        models = [model for page in await pages(client, "/models", limit, versions=1) for model in page["models"]]
        assert [model["model"] for model in models] == services.registry.models()
        assert all(len(model["versions"]) == 1 for model in models)
        assert await generations(client, "/models/a/aliases/production/history", limit) == [4, 3, 2, 1]


async def generations(client: httpx.AsyncClient, path: str, limit: int) -> list[int]:
    answer = await client.get(path, params={"limit": limit})
    found = answer.json()
    while "next" in answer.links:
        answer = await client.get(answer.url.join(answer.links["next"]["url"]))
        assert answer.json()
        found += answer.json()
    return [state["generation"] for state in found]


async def pages(client: httpx.AsyncClient, path: str, limit: int, **query: int) -> list[dict[str, Any]]:
    found, after = [], None
    while True:
        params = query | {"limit": limit} | ({"after": after} if after else {})
        answer = await client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        if (after := found[-1]["next"]) is None:
            return found


async def test_impossible_pages_are_refused(client: httpx.AsyncClient) -> None:
    wrong = ["limit=0", "limit=101", "limit=x", "after=", "after=0", "after=-1", "after=x", "after=99999999999"]
    for path in ("/models/mnist", "/models/mnist/aliases/production/history"):
        for query in wrong:
            assert (await client.get(f"{path}?{query}")).status_code == 422, query
    for query in ("limit=0", "limit=101", "versions=0", "versions=101", "after=UP"):
        assert (await client.get(f"/models?{query}")).status_code == 422, query


def test_a_page_reads_the_manifests_that_it_shows_and_one_more(tmp_path: Path) -> None:
    publish_many(tmp_path, "odd", range(1, 31))
    for manifest in tmp_path.glob("models/odd/*/manifest.json"):
        manifest.write_bytes(b"rotten")  # what is read is noted as damaged
    registry = Registry(open_store(str(tmp_path)))
    publish_many(tmp_path, "odd", range(31, 36))
    assert [manifest.version for manifest in registry.newest("odd", 3)] == [35, 34, 33]
    assert registry.models() == ["odd"]
    assert registry.version_numbers("odd", 3) == [33, 34, 35]
    assert registry.store.damaged.keys() == []


def test_what_is_deleted_leaves_no_empty_folders_for_lists_to_pass(tmp_path: Path) -> None:
    publish_many(tmp_path, "odd", range(1, 31))
    registry = Registry(open_store(str(tmp_path)))
    assert prune(registry, "odd", keep=2) == list(range(1, 29))
    assert sorted(path.name for path in (tmp_path / "models" / "odd").iterdir()) == ["29", "30"]


def test_a_release_that_is_in_the_store_is_found_without_reading_other_versions(tmp_path: Path) -> None:
    registry = Registry(open_store(str(tmp_path)))
    install_bundled_models(registry, "production", "mnist")
    publish_many(tmp_path, "mnist", range(2, 10))
    for number in range(2, 10):
        (tmp_path / "models" / "mnist" / str(number) / "manifest.json").write_bytes(b"rotten")
    install_bundled_models(registry, "production", "mnist")
    assert registry.store.damaged.keys() == []


def test_folders_are_those_directly_below(store: Store) -> None:
    for key in ("models/a/1/x", "models/a/10/y/z", "models/b", "models/ab/1"):
        store.create(key, b"")
    assert (store.list_folders("models"), store.list_folders("models/a")) == (["a", "ab"], ["1", "10"])
    assert (store.list_folders("models/b"), store.list_folders("nothing")) == ([], [])
    assert (store.size("models/b"), store.size("nothing"), store.size("models/a")) == (0, None, None)
