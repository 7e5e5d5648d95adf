"""Keys, scopes and hosts, over the whole interface."""

import asyncio
import json
import logging
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.api.app import create_app
from service.api.auth import PUBLIC, Authorizer, required_scope
from service.api.keys import SCOPES, Keys, parse_key
from service.errors import MisdirectedRequest, Unauthorized, Unavailable
from service.registry.store import open_store
from service.services import all_process_statuses
from service.settings import Settings
from tests.service.conftest import COMMAND, PATIENCE_SECONDS, png, running_server
from tests.service.test_predict import assert_problem
from training import Dataset

OPEN_ROUTES = {"/", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"}


@pytest.fixture
def keys(settings: Settings) -> dict[str, str]:
    """A key for each scope."""
    kept = Keys(open_store(settings.store_location))
    return {scope: kept.create((scope,))[1] for scope in SCOPES}


@pytest.fixture
async def keyed(keys: dict[str, str], settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    assert keys
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


class FilledIn(dict[str, str]):
    """Values for the parameters of a path."""

    def __missing__(self, name: str) -> str:
        return {"version": "1", "name": "mnist"}.get(name, name)


def operations(app: FastAPI) -> list[tuple[str, str, str]]:
    """List (method, path with its parameters filled in, path of the interface)."""
    return [
        (
            method.upper(),
            path.replace("{name}", "mnist").replace("{version}", "1").replace("{", "").replace("}", ""),
            path,
        )
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    ]


async def test_every_route_that_is_not_open_asks_for_a_key_of_its_scope(
    keyed: httpx.AsyncClient, keys: dict[str, str], app: FastAPI
) -> None:
    asked = 0
    for method, address, path in operations(app):
        scope = required_scope(method, address)
        if path in OPEN_ROUTES or path == "/metrics":
            assert scope in (PUBLIC, "metrics"), path
            continue
        assert scope in SCOPES, path
        asked += 1
        answer = await keyed.request(method, address)
        body = answer.json()
        assert (answer.status_code, body["code"]) == (401, "unauthorized"), path
        assert answer.headers["www-authenticate"] == "Bearer"
        for other in set(SCOPES) - {scope, "admin"}:
            refused = await keyed.request(method, address, headers=bearer(keys[other]))
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), (path, other)
        described = app.openapi()["paths"][path][method.lower()]
        assert described["security"] == [{"key": []}], path
    assert asked > 30


@pytest.mark.parametrize("scope", ["predict", "admin"])
async def test_a_good_key_opens_what_it_is_for(
    scope: str, keyed: httpx.AsyncClient, keys: dict[str, str], digits: Dataset
) -> None:
    answer = await keyed.post("/predict", files={"file": png(digits.images[0])}, headers=bearer(keys[scope]))
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic Z3M6Z3M=",
        "Bearer gs_",
        "Bearer gs_aaaaaaaa_" + "a" * 43,
        "gs_aaaaaaaa_" + "a" * 43,
    ],
)
async def test_what_is_no_known_key_opens_nothing(authorization: str, keyed: httpx.AsyncClient) -> None:
    answer = await keyed.get("/models", headers={"Authorization": authorization})
    assert_problem(answer, 401, "unauthorized")


async def test_a_key_with_another_secret_opens_nothing(keyed: httpx.AsyncClient, keys: dict[str, str]) -> None:
    key = keys["admin"]
    for changed in (key[:-1] + ("A" if key[-1] != "A" else "B"), key[:-1], key + "A", key.upper()):
        assert_problem(await keyed.get("/models", headers=bearer(changed)), 401)


def test_a_revoked_key_opens_nothing_and_a_new_one_does_without_a_restart(settings: Settings) -> None:
    kept = Keys(open_store(settings.store_location))
    authorizer = Authorizer(kept, settings)
    with pytest.raises(Unavailable):
        authorizer.authorize(None, "predict")
    authorizer.refresh()
    authorizer.authorize(None, "admin")
    key, text = kept.create(("train",), "worker")
    authorizer.refresh()
    authorizer.authorize(b"Bearer " + text.encode(), "train")
    with pytest.raises(Unauthorized):
        authorizer.authorize(None, "train")
    kept.create(("predict",))
    kept.revoke(key.id)
    authorizer.refresh()
    with pytest.raises(Unauthorized):
        authorizer.authorize(b"Bearer " + text.encode(), "train")


def test_a_server_whose_keys_are_all_gone_is_locked_and_not_open(settings: Settings) -> None:
    kept = Keys(open_store(settings.store_location))
    key, text = kept.create(("admin",))
    authorizer = Authorizer(kept, settings)
    authorizer.refresh()
    kept.revoke(key.id)
    authorizer.refresh()
    for shown in (None, b"Bearer " + text.encode()):
        with pytest.raises(Unauthorized):
            authorizer.authorize(shown, "predict")


def test_the_store_knows_no_secret(settings: Settings) -> None:
    kept = Keys(open_store(settings.store_location))
    key, text = kept.create(("predict", "train"), "shop")
    secret = text.split("_", 2)[2]
    files = [path for path in Path(settings.store_location).rglob("*") if path.is_file()]
    assert files
    assert all(secret not in path.read_text(errors="replace") for path in files)
    assert parse_key(text) == (key.id, key.sha256)


async def test_predictions_and_metrics_can_be_open_while_the_rest_is_not(settings: Settings, digits: Dataset) -> None:
    kept = Keys(open_store(settings.store_location))
    kept.create(("admin",))
    app = create_app(settings.model_copy(update={"open_predict": True, "open_metrics": False}))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        assert (await client.post("/predict", files={"file": png(digits.images[0])})).status_code == 200
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/train")).status_code == 401
        assert (await client.get("/health/ready")).status_code == 200


async def test_a_service_whose_keys_cannot_be_read_is_not_ready(settings: Settings, digits: Dataset) -> None:
    keys = Path(settings.store_location) / "keys"
    keys.parent.mkdir(parents=True, exist_ok=True)
    keys.symlink_to(keys)  # a loop: the models can be read, the keys cannot
    app, image = create_app(settings), {"pixels": digits.images[0].tolist()}
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        for path in ("/health/ready", "/v2/health/ready"):
            assert (await client.get(path)).status_code == 503
        assert (
            all_process_statuses(app.state.services)[0] | {"ready": False, "version": 1}
            == all_process_statuses(app.state.services)[0]
        )
        assert (await client.post("/predict", json=image)).status_code == 503
        keys.unlink()
        while (await client.get("/health/ready")).status_code != 200:
            await asyncio.sleep(0.01)
        assert (await client.post("/predict", json=image)).json()["version"] == 1


async def test_a_service_whose_predictions_need_no_key_is_ready_without_the_keys(settings: Settings) -> None:
    keys = Path(settings.store_location) / "keys"
    keys.parent.mkdir(parents=True, exist_ok=True)
    keys.symlink_to(keys)
    app = create_app(settings.model_copy(update={"open_predict": True}))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        assert (await client.get("/health/ready")).status_code == 200


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [
        ("", "localhost", 200),
        ("", "127.0.0.1:8000", 200),
        ("", "[::1]:8000", 200),
        ("", "evil.example", 421),
        ("", "localhost.evil.example", 421),
        ("api.example.org,*.example.com", "api.example.org:443", 200),
        ("api.example.org,*.example.com", "a.b.example.com", 200),
        ("api.example.org,*.example.com", "example.com", 421),
        ("api.example.org,*.example.com", "localhost", 421),
        ("*", "anything", 200),
    ],
)
async def test_a_request_for_another_host_is_refused(settings: Settings, allowed: str, host: str, status: int) -> None:
    app = create_app(settings.model_copy(update={"allowed_hosts": allowed or None}))
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        answer = await client.get("/health/live", headers={"Host": host})
        assert answer.status_code == status
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7", "127.0.0.1"])
def test_without_keys_no_page_can_bind_its_name_to_any_address(settings: Settings, address: str) -> None:
    kept = Keys(open_store(settings.store_location))
    authorizer = Authorizer(kept, settings.model_copy(update={"host": address}))
    for _ in ("before the keys are read", "without any"):
        for host in (
            b"localhost:8000",
            b"LOCALHOST",
            b"127.0.0.1:8000",
            b"[::1]:8000",
            f"{_written(address)}:1".encode(),
        ):
            authorizer.check_host(host)
        for stranger in (None, b"", b"evil.example", b"evil.example:8000", b"localhost.evil.example", b"198.51.100.1"):
            for _ in range(2):  # it is not remembered for good, either
                with pytest.raises(MisdirectedRequest, match="GLYPHSERVE_ALLOWED_HOSTS"):
                    authorizer.check_host(stranger)
        authorizer.refresh()


def _written(address: str) -> str:
    return f"[{address}]" if ":" in address else address


NO_HOSTS = [
    "[::1].evil.com",
    "[::1]evil",
    "[::1",
    "[::1]:",
    "::1",
    "localhost:80@evil",
    "localhost@evil",
    "evil@localhost",
    "127.0.0.1:evil",
    "127.0.0.1:99999",
    "127.0.0.1:-1",
    "127.0.0.1:80:80",
    "localhost:80/evil",
    "evil/.b.example",
    "evil:80.b.example",
    "localhost,evil",
    "localhost localhost",
    "",
]


@pytest.mark.parametrize("host", NO_HOSTS)
def test_what_is_no_name_with_a_port_is_no_host(host: str, settings: Settings) -> None:
    update = {"allowed_hosts": "localhost, 127.0.0.1, [::1], *.b.example"}
    for each in (settings, settings.model_copy(update=update), settings.model_copy(update={"host": ""})):
        authorizer = Authorizer(Keys(open_store(settings.store_location)), each)
        for good in ("localhost", "LOCALHOST:65535", "127.0.0.1:0") if each.host else ():
            authorizer.check_host(good.encode())
        with pytest.raises(MisdirectedRequest):
            authorizer.check_host(host.encode())


def test_a_keyed_server_that_others_reach_goes_by_any_name_unless_names_are_set(settings: Settings) -> None:
    kept = Keys(open_store(settings.store_location))
    public, named = (
        settings.model_copy(update={"host": "0.0.0.0"}),
        {"allowed_hosts": "a.example:443, fd00::1,localhost"},
    )
    kept.create(("admin",))
    authorizer, strict = Authorizer(kept, public), Authorizer(kept, public.model_copy(update=named))
    for each in (authorizer, strict):
        each.refresh()
        for host in (b"a.example", b"[FD00::1]:8000", b"localhost"):
            each.check_host(host)
    authorizer.check_host(b"any.example")
    with pytest.raises(MisdirectedRequest):
        strict.check_host(b"any.example")


def test_a_page_that_rebound_its_name_reads_and_deletes_nothing_where_all_may_connect(
    tmp_path: Path, digits: Dataset
) -> None:
    with running_server(tmp_path, "--no-worker", "--insecure", "--host", "0.0.0.0") as server:
        url, rebound = f"http://127.0.0.1:{httpx.URL(server.url).port}", {"Host": "evil.example"}
        files = {"file": png(digits.images[0])}
        assert httpx.post(f"{url}/samples", files=files, data={"label": "7"}, timeout=60).status_code == 201
        assert_problem(httpx.post(f"{url}/predict", files=files, headers=rebound, timeout=60), 421, "misdirected")
        for method, path in (("GET", "/samples"), ("DELETE", "/samples?label=7"), ("GET", "/metrics"), ("GET", "/")):
            assert_problem(httpx.request(method, url + path, headers=rebound, timeout=60), 421, "misdirected")
        assert httpx.get(f"{url}/samples", timeout=60).json()["count"] == 1


@pytest.mark.slow
def test_a_key_appears_in_no_log_no_metric_and_no_error(tmp_path: Path, digits: Dataset) -> None:
    home = tmp_path / "home"
    keys_command = [*COMMAND, "keys"]
    made = subprocess.run(
        [*keys_command, "create", "--scope", "predict", "--home", str(home)], capture_output=True, text=True, check=True
    )
    canary = made.stdout.strip()
    secret = canary.split("_", 2)[2]
    seen = []
    with running_server(home, "--no-worker") as server:
        for headers in (bearer(canary), {"Authorization": canary}, {"X-Request-ID": canary}, bearer(canary + "x")):
            for method, path in (("POST", "/predict"), ("GET", "/train"), ("PUT", "/models/mnist/aliases/production")):
                answer = server.http.request(method, path, headers=headers, content=png(digits.images[0]))
                seen.append(answer.text + str(answer.headers))
        assert server.http.get("/models", headers=bearer(canary)).status_code == 200
        seen.append(server.http.get("/metrics").text)
        revoked = canary.split("_")[1]
        subprocess.run([*keys_command, "revoke", revoked, "--home", str(home)], check=True, capture_output=True)
    listed = subprocess.run([*keys_command, "list", "--home", str(home)], capture_output=True, text=True, check=True)
    assert secret not in server.output + listed.stdout
    assert all(secret not in text for text in seen)
    assert any("unauthorized" in text for text in seen)


def test_an_address_that_others_reach_needs_a_key_first(tmp_path: Path) -> None:
    command = [
        *COMMAND,
        "serve",
        "--home",
        str(tmp_path),
        "--host",
        "0.0.0.0",
        "--port",
        "0",
    ]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 2
    assert "glyphserve keys create" in refused.stderr
    Keys(open_store(Settings(home=tmp_path).store_location)).create(("admin",))
    with running_server(tmp_path, "--no-worker", "--host", "0.0.0.0") as server:
        port = httpx.URL(server.url).port
        assert httpx.get(f"http://127.0.0.1:{port}/health/live").status_code == 200
        assert httpx.get(f"http://127.0.0.1:{port}/models").status_code == 401


def test_a_damaged_key_opens_nothing(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    store = open_store(settings.store_location)
    kept = Keys(store)
    key, text = kept.create(("admin",))
    kept.create(("train",))
    store.put(f"keys/{key.id}.json", json.dumps({"id": key.id}).encode())
    authorizer = Authorizer(kept, settings)
    authorizer.refresh()
    with pytest.raises(Unauthorized):
        authorizer.authorize(b"Bearer " + text.encode(), "admin")
    assert text not in caplog.text


async def test_a_sample_tells_by_which_key_it_came(
    keyed: httpx.AsyncClient, keys: dict[str, str], digits: Dataset
) -> None:
    body = {"pixels": digits.images[0].tolist(), "label": "7"}
    answer = await keyed.post("/samples", json=body, headers=bearer(keys["train"]))
    assert answer.status_code == 201, answer.text
    assert answer.json()["source"]["key_id"] == keys["train"].split("_")[1]
    assert keys["train"] not in answer.text


async def test_a_damaged_key_is_named_by_readiness_and_a_metric_logged_once_and_mending_it_opens_again(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(settings.store_location)
    key, text = Keys(store).create(("admin",))
    path, opens = f"keys/{key.id}.json", bearer(text)
    whole, app = store.get(path), create_app(settings)
    transport = httpx.ASGITransport(app)

    async def answers(status: int, damaged: list[str]) -> bool:
        ready, metrics = await client.get("/health/ready"), (await client.get("/metrics")).text
        return (
            (await client.get("/models", headers=opens)).status_code == status
            and ready.json()["damaged"] == damaged
            and f"glyphserve_damaged_objects {float(len(damaged))}" in metrics
        )

    async def wait_for(status: int, damaged: list[str]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await answers(status, damaged):
                await asyncio.sleep(0.02)

    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        client.headers["Host"] = "localhost"
        await wait_for(200, [])
        for content in (b"{}", b'{"id": "', whole, b"", whole):  # each is noticed without a restart
            store.put(path, content)
            await wait_for(*((200, []) if content == whole else (401, [path])))
        (Path(settings.store_location) / path).write_bytes(b"[]")  # and another hand that removes it
        await wait_for(401, [path])
        (Path(settings.store_location) / path).unlink()
        await wait_for(401, [])
    told = [record for record in caplog.records if path in record.getMessage()]
    assert len(told) == 3, "once for each time that it was damaged"


@pytest.mark.parametrize("way", ["moved away", "revoked", "damaged"])
def test_keys_that_there_were_once_keep_a_restarted_server_locked(
    settings: Settings, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    store, folder = open_store(settings.store_location), Path(settings.store_location)
    key, text = Keys(store).create(("admin",))
    if way == "moved away":
        (folder / "keys").rename(folder.parent / "elsewhere")
    elif way == "revoked":
        Keys(store).revoke(key.id)
    else:
        store.put(f"keys/{key.id}.json", b"")
    authorizer = Authorizer(Keys(open_store(settings.store_location)), settings)
    for _ in range(3):
        authorizer.refresh()
        for shown in (None, b"Bearer " + text.encode()):
            with pytest.raises(Unauthorized):
                authorizer.authorize(shown, "admin")
    assert [record.getMessage().count("glyphserve keys create") for record in caplog.records].count(1) == 1
    if way == "moved away":
        (folder.parent / "elsewhere").rename(folder / "keys")
    else:
        text = Keys(store).create(("admin",))[1]
    authorizer.refresh()
    authorizer.authorize(b"Bearer " + text.encode(), "admin")


def test_keys_of_an_earlier_release_are_remembered_from_its_first_start_on(settings: Settings) -> None:
    folder = Path(settings.store_location)
    Keys(open_store(settings.store_location)).create(("admin",))
    (folder / "keys-required.json").unlink()
    Authorizer(Keys(open_store(settings.store_location)), settings).refresh()
    (folder / "keys").rename(folder.parent / "elsewhere")
    authorizer = Authorizer(Keys(open_store(settings.store_location)), settings)
    authorizer.refresh()
    with pytest.raises(Unauthorized):
        authorizer.authorize(None, "admin")


def test_a_server_is_open_again_after_a_reset_and_a_restart_and_not_before(settings: Settings) -> None:
    Keys(open_store(settings.store_location)).create(("admin",))
    authorizer = Authorizer(Keys(open_store(settings.store_location)), settings)
    authorizer.refresh()
    command = [*COMMAND, "keys", "reset", "--home", str(settings.home)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    subprocess.run([*command, "--yes"], capture_output=True, check=True)
    authorizer.refresh()
    with pytest.raises(Unauthorized):
        authorizer.authorize(None, "admin")
    fresh = Authorizer(Keys(open_store(settings.store_location)), settings)
    fresh.refresh()
    fresh.authorize(None, "admin")


def test_a_store_that_cannot_be_read_is_told_once_and_not_each_second(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    keys = Path(settings.store_location) / "keys"
    keys.parent.mkdir(parents=True)
    authorizer = Authorizer(Keys(open_store(settings.store_location)), settings)
    for _ in range(2):
        keys.symlink_to(keys)
        authorizer.refresh()
        authorizer.refresh()
        keys.unlink()
        authorizer.refresh()
    assert len(caplog.records) == 2
