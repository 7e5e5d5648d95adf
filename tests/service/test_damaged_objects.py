"""One damaged object of the store hides no other and stops nothing, whatever the damage and whichever the object."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.app import create_app
from service.api.keys import Keys
from service.backup import create_backup
from service.errors import CorruptModel, NotFound, UnprocessableContent
from service.jobs.gate import save_decision
from service.json_objects import MOST_BYTES, MOST_DEPTH, read_object
from service.registry.bundled import install_bundled_models
from service.registry.registry import Registry
from service.registry.store import Store, open_store
from service.samples.sample import Provenance
from service.samples.store import open_samples
from service.settings import Settings
from tests.service.conftest import half_trained
from training import Dataset

DEEP = 100_000
DAMAGE: dict[str, bytes] = {
    "nothing": b"",
    "cut off": b'{"version": 1, "labels": ["0"',
    "zeros": b"\0" * 300,
    "not UTF-8": b'{"version": "\xff\xfe\xfd"}',
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "a deep object": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "a field of 500 levels": b'{"version": 1, "x": ' + b"[" * 500 + b"]" * 500 + b"}",
    "a list": b"[]",
    "an empty object": b"{}",
    "null": b"null",
    "a number": b"7",
    "5,000 digits": b'{"version": ' + b"9" * 5000 + b"}",
    "infinite": b'{"version": 1e999, "labels": [1e999], "weights_sha256": NaN, "temperature": Infinity}',
    "half a surrogate": b'{"version": 1, "since": "\\ud800", "reason": "", "labels": ["\\ud800"]}',
    "wrong types": json.dumps(
        {
            "version": [1],
            "labels": "0123456789",
            "weights_sha256": 5,
            "temperature": "1",
            "job_id": 7,
            "settings": [],
            "metrics": "good",
            "since": {},
            "reason": 3,
            "scopes": "admin",
            "created": 3,
            "id": {},
            "model": 1,
            "label": [],
            "picture": 4,
            "source": "me",
            "deserves": 1,
        }
    ).encode(),
    "too large": b'{"version": 1, "x": "' + b"x" * MOST_BYTES + b'"}',
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_whatever_the_bytes_are_the_answer_is_an_object_that_can_be_written_or_an_error(content: bytes) -> None:
    try:
        found = read_object(content)
    except ValueError:
        return
    json.dumps(found, allow_nan=False).encode()


def test_numbers_that_json_does_not_have_are_null_and_depth_has_a_limit() -> None:
    assert read_object(b'{"a": NaN, "b": 1e999, "c": 1.5, "d": -Infinity}') == {
        "a": None,
        "b": None,
        "c": 1.5,
        "d": None,
    }
    inner = MOST_DEPTH - 2
    assert read_object(b'{"a": ' + b"[" * inner + b"]" * inner + b"}")
    with pytest.raises(ValueError, match="levels deep"):
        read_object(b'{"a": ' + b"[" * MOST_DEPTH + b"]" * MOST_DEPTH + b"}")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    """A home with everything in it that is stored as JSON."""
    home = tmp_path_factory.mktemp("whole")
    settings = Settings(home=home)
    store = open_store(settings.store_location)
    registry = Registry(store)
    install_bundled_models(registry, "production")
    assert registry.publish("mnist", *half_trained(seed=1), job_id="job-two").version == 2
    assert registry.publish("other", *half_trained(seed=2)).version == 1
    registry.promote("mnist", "production", 2)
    save_decision(registry, "mnist", 2, {"promoted": True, "reason": "good", "figures": {}})
    open_samples(store, settings).add("mnist", digits.images[0], "7", Provenance("request"))
    open_samples(store, settings).add("mnist", digits.images[1], "8", Provenance("request"))
    return home


def sample_key(store: Store) -> str:
    return store.list("samples")[0]


OBJECTS: dict[str, Callable[[Store], str]] = {
    "the serving manifest": lambda _: "models/mnist/2/manifest.json",
    "a manifest of the model": lambda _: "models/mnist/1/manifest.json",
    "a manifest of another model": lambda _: "models/other/1/manifest.json",
    "the newest alias entry": lambda _: "models/mnist/aliases/production/00000002.json",
    "an older alias entry": lambda _: "models/mnist/aliases/production/00000001.json",
    "a verdict": lambda _: "models/mnist/2/verdict.json",
    "what a job published": lambda _: "models/mnist/jobs/job-two.json",
    "a sample": sample_key,
    "an alias with an odd name": lambda _: "models/mnist/aliases/Odd Name/00000001.json",
    "an entry with an odd number": lambda _: "models/mnist/aliases/production/²2222222.json",
    "a version with an odd number": lambda _: "models/mnist/²/manifest.json",
    "a model with an odd name": lambda _: "models/Odd Name/1/manifest.json",
    "a claim": lambda _: "models/mnist/2/promoting/²-x",
}


def copied(home: Path, to: Path) -> tuple[Settings, Store]:
    """A copy of a home."""
    shutil.copytree(home, to)
    settings = Settings(home=to, alias_poll_seconds=0.1)
    return settings, open_store(settings.store_location)


# Every damage to the objects that all else depends on; the deep ones and the wrong types to each.
CASES = [
    pytest.param(name, damage, marks=[] if damage in ("cut off", "wrong types") else pytest.mark.slow)
    for name in OBJECTS
    for damage in DAMAGE
    if name in ("the serving manifest", "the newest alias entry")
    or damage in ("a deep object", "a field of 500 levels", "wrong types", "infinite")
]


@pytest.mark.parametrize(("name", "damage"), CASES)
async def test_the_service_starts_lists_and_predicts_beside_a_damaged_object(
    home: Path, tmp_path: Path, digits: Dataset, name: str, damage: str
) -> None:
    settings, store = copied(home, tmp_path / "home")
    key = OBJECTS[name](store)
    path = Path(settings.store_location, *key.split("/"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(DAMAGE[damage])
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):

        async def ask(path: str) -> Any:
            answer = await client.get(path)
            assert answer.status_code == 200, (path, answer.text)
            return answer.json()

        models = {model["model"]: model for model in (await ask("/models"))["models"]}
        assert models["mnist"]["versions"]
        assert "fast" in models
        for path_of in ("/models/mnist", "/models/mnist/aliases/production/history", "/v2/models", "/v1/models"):
            await ask(path_of)
        index = (await client.post("/v2/repository/index")).json()
        assert sum(entry["state"] == "READY" for entry in index) >= 4
        samples = await ask("/samples")
        assert samples["count"] == 2
        body = {"pixels": digits.images[0].tolist()}
        answer = await client.post("/predict", json=body)
        assert answer.status_code == 200, answer.text
        is_essential = name in ("the serving manifest", "the newest alias entry") and damage != "infinite"
        assert not is_essential or answer.json()["version"] == 1
        for index_of, digit in enumerate(digits.images[2:4]):
            label = {"pixels": digit.tolist(), "label": str(index_of)}
            assert (await client.post("/samples", json=label)).status_code == 201
        assert (await client.get("/samples/export")).status_code == 200
        ready = await ask("/health/ready")
        metrics = (await client.get("/metrics")).text
        named = "glyphserve_damaged_objects 0.0" not in metrics
        assert named == bool(ready["damaged"])
        if is_essential or name in ("a manifest of another model", "a verdict", "a sample"):
            assert ready["damaged"] == [key] or damage in ("infinite", "wrong types")
        # A promotion mends what the alias means.
        whole = 2 if name == "a manifest of the model" else 1
        answer = await client.put("/models/mnist/aliases/production", json={"version": whole})
        assert answer.status_code == 200, answer.text
        assert (await client.post("/predict", json=body)).json()["version"] == whole


@pytest.mark.parametrize(("name", "damage"), CASES)
def test_a_home_with_a_damaged_object_is_backed_up(home: Path, tmp_path: Path, name: str, damage: str) -> None:
    settings, store = copied(home, tmp_path / "home")
    path = Path(settings.store_location, *OBJECTS[name](store).split("/"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(DAMAGE[damage])
    shutil.rmtree(Path(settings.store_location, "models", "accurate"))  # large
    create_backup(settings, tmp_path / "backup.tar.gz")


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_key_hides_no_other_key(tmp_path: Path, damage: str) -> None:
    store = open_store(str(tmp_path))
    keys = [Keys(store).create(("admin",))[0] for _ in range(3)]
    (tmp_path / "keys" / f"{keys[1].id}.json").write_bytes(DAMAGE[damage])
    assert {key.id for key in Keys(store).list()} == {keys[0].id, keys[2].id}
    assert store.damaged.keys() == [f"keys/{keys[1].id}.json"]


def test_an_object_that_was_mended_or_deleted_is_damaged_no_more(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    registry = Registry(store)
    for seed in (1, 2):
        registry.publish("some", *half_trained(seed=seed))
    manifest = registry.manifest("some", 1)
    for version in (1, 2):
        store.put(f"models/some/{version}/manifest.json", DAMAGE["deep lists"])
    for version in (1, 2):
        with pytest.raises(CorruptModel):
            registry.manifest("some", version)
    assert store.damaged.keys() == ["models/some/1/manifest.json", "models/some/2/manifest.json"]
    store.put("models/some/1/manifest.json", manifest.to_bytes())
    registry.manifest("some", 1)
    store.delete("models/some/2/manifest.json")
    with pytest.raises(NotFound):
        registry.manifest("some", 2)
    assert store.damaged.keys() == []


def test_a_job_whose_record_of_what_it_published_is_deep_is_told_so(tmp_path: Path) -> None:
    registry = Registry(open_store(str(tmp_path)))
    weights, details = half_trained()
    registry.publish("some", weights, details, job_id="one")
    registry.store.put("models/some/jobs/one.json", DAMAGE["deep lists"])
    with pytest.raises(CorruptModel):
        registry.publish("some", weights, details, job_id="one")


@pytest.mark.parametrize("damage", ["a deep object", "a list", "wrong types", "an empty object"])
def test_a_backup_whose_description_is_damaged_is_refused_in_one_sentence(tmp_path: Path, damage: str) -> None:
    import io
    import tarfile
    from hashlib import sha256

    from service.backup import restore

    file, content = tmp_path / "backup.tar.gz", DAMAGE[damage]
    sums = json.dumps({"backup.json": sha256(content).hexdigest()}).encode()
    with tarfile.open(file, "w:gz") as archive:
        for name, member in (("backup.json", content), ("checksums.json", sums)):
            entry = tarfile.TarInfo(name)
            entry.size = len(member)
            archive.addfile(entry, io.BytesIO(member))
    with pytest.raises(UnprocessableContent, match="damaged"):
        restore(Settings(home=tmp_path / "home"), file)
