"""Samples are deleted by who sent them: by the key's name or id, also after it was revoked, and also old ones."""

import json
import subprocess
from collections.abc import AsyncIterator

import httpx
import pytest

from service.api.app import create_app
from service.api.keys import Keys
from service.registry.store import Store, open_store
from service.samples.sample import Provenance
from service.samples.store import open_samples
from service.settings import Settings
from tests.service.conftest import COMMAND
from training import Dataset


@pytest.fixture
def store(settings: Settings) -> Store:
    return open_store(settings.store_location)


@pytest.fixture
def shown(store: Store) -> dict[str, dict[str, str]]:
    """The headers of three keys, two of one name and one without any."""
    made = {who: Keys(store).create(("train",), name) for who, name in (("a", "shop"), ("b", "shop"), ("c", ""))}
    return {who: {"Authorization": f"Bearer {text}"} for who, (_, text) in made.items()}


@pytest.fixture
async def keyed(shown: dict[str, dict[str, str]], settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    assert shown
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        yield client


def id_of(headers: dict[str, str]) -> str:
    return headers["Authorization"].split("_")[1]


async def test_what_a_key_sent_goes_and_what_another_said_before_counts_again(
    keyed: httpx.AsyncClient, shown: dict[str, dict[str, str]], digits: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    async def send(row: int, label: str, who: str) -> dict[str, object]:
        body = {"pixels": digits.images[row].tolist(), "label": label}
        answer = await keyed.post("/samples", json=body, headers=shown[who])
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    only = await send(0, "7", "a")
    assert only["source"] | {"key_id": id_of(shown["a"]), "key_name": "shop"} == only["source"]  # type: ignore[operator]
    await send(1, "7", "b")
    mixed = await send(2, "1", "c")
    assert mixed["source"]["key_name"] is None  # type: ignore[index]
    await send(2, "7", "a")
    others = await send(3, "3", "c")

    async def delete(**params: object) -> int:
        answer = await keyed.request("DELETE", "/samples", params=params, headers=shown["c"])  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        return int(answer.json()["deleted"])

    assert await delete(key_name="nobody") == 0
    assert await delete(key_name="shop", label="8") == 0
    assert await delete(key_name="shop", older_than_days=1) == 0
    caplog.set_level("INFO")
    assert await delete(key_name="shop") == 3
    assert "3 samples of mnist that the key 'shop' submitted" in caplog.text
    assert (await keyed.get("/samples", headers=shown["c"])).json()["counts"] == {"1": 1, "3": 1}
    again = (await keyed.get(f"/samples/{mixed['id']}", headers=shown["c"])).json()
    assert ([said["label"] for said in again["history"]], again["source"]["key_id"]) == (["1"], id_of(shown["c"]))
    assert await delete(key_name=id_of(shown["c"])) == 2
    assert (await keyed.get(f"/samples/{others['id']}", headers=shown["c"])).status_code == 404
    secret = shown["a"]["Authorization"].removeprefix("Bearer ")
    for wrong in ("", secret):
        answer = await keyed.request("DELETE", "/samples", params={"key_name": wrong}, headers=shown["c"])
        assert answer.status_code == 422
    own = [record.getMessage() for record in caplog.records if record.name.startswith("service")]
    assert own
    assert not any(secret in line for line in own)


def test_the_command_finds_those_of_revoked_keys_and_those_of_earlier_releases(
    settings: Settings, store: Store, shown: dict[str, dict[str, str]], digits: Dataset
) -> None:
    samples = open_samples(store, settings)
    samples.add("mnist", digits.images[0], "7", Provenance("r", key_id=id_of(shown["a"])))  # as older releases do
    samples.add("mnist", digits.images[1], "7", Provenance("r", key_id=id_of(shown["b"]), key_name="shop"))
    samples.add("mnist", digits.images[2], "7", Provenance("r"))
    written = [json.loads(store.get(key))["source"] for key in store.list("samples")]
    assert sum("key_name" in source for source in written) == 1, "earlier releases refuse a field that they do not know"
    Keys(store).revoke(id_of(shown["b"]))
    command = [*COMMAND, "samples", "delete", "--home", str(settings.home), "--key-name"]
    for name, told in (("nobody", "0"), ("shop", "2"), ("shop", "0")):
        done = subprocess.run([*command, name], capture_output=True, text=True, check=True)
        assert done.stdout == f"{told} samples deleted\n"
    assert len(samples.list("mnist")) == 1
