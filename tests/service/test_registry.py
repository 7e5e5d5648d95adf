import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.errors import Conflict, CorruptModel, NotFound, PreconditionFailed, UnprocessableContent
from service.registry.bundled import install_bundled_models
from service.registry.registry import Registry
from service.registry.store import Store
from tests.service.conftest import half_trained
from training.recipes.model_zoo import models_dir


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store)


def test_versions_are_numbered_as_they_come_and_load_as_they_were(registry: Registry) -> None:
    first, second = (registry.publish("odd", *half_trained(seed=seed)) for seed in (1, 2))
    assert (first.version, second.version) == (1, 2)
    assert [manifest.version for manifest in registry.manifests("odd")] == [1, 2]
    assert registry.models() == ["odd"]
    loaded = registry.load("odd", 2)
    assert loaded.network.config.layers == (784, 8, 10)
    assert loaded.manifest.weights_sha256 == half_trained(seed=2)[1]["weights_sha256"]


def test_a_job_publishes_once_however_often_it_tries(registry: Registry) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: registry.publish("odd", *half_trained(), job_id="job-1"), range(16)))
    assert len({manifest.version for manifest in made}) == 1
    assert [manifest.version for manifest in registry.manifests("odd")] == [made[0].version]
    assert made[0].job_id == "job-1"


def test_publishers_at_once_get_different_numbers(registry: Registry) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda seed: registry.publish("odd", *half_trained(seed=seed)), range(12)))
    assert sorted(manifest.version for manifest in made) == list(range(1, 13))
    for seed, manifest in enumerate(made):
        assert (
            registry.load("odd", manifest.version).manifest.weights_sha256
            == half_trained(seed=seed)[1]["weights_sha256"]
        )


def test_a_publish_cut_off_before_its_manifest_leaves_no_version_and_is_finished_by_the_next_try(
    registry: Registry, store: Store
) -> None:
    weights, details = half_trained()
    registry.publish("odd", weights, details, job_id="job-1")
    store.delete("models/odd/1/manifest.json")
    with pytest.raises(NotFound):
        registry.manifests("odd")
    assert registry.publish("odd", weights, details, job_id="job-1").version == 1
    registry.load("odd", 1)
    assert registry.publish("odd", *half_trained(seed=3)).version == 2


def test_a_job_that_was_trained_twice_publishes_what_came_first(registry: Registry, store: Store) -> None:
    first, details = half_trained(seed=1)
    registry.publish("odd", first, details, job_id="job-1")
    store.delete("models/odd/1/manifest.json")  # cut off here; the second training stopped at another epoch
    made = registry.publish("odd", *half_trained(seed=2), job_id="job-1")
    assert (made.version, made.weights_sha256) == (1, details["weights_sha256"])
    assert registry.weights(registry.manifest("odd", 1)) == first


def test_an_alias_is_a_log_of_promotions(registry: Registry) -> None:
    for seed in (1, 2):
        registry.publish("odd", *half_trained(seed=seed))
    with pytest.raises(NotFound):
        registry.alias("odd", "production")
    registry.promote("odd", "production", 1, reason="first")
    registry.promote("odd", "production", 2, expected_generation=1, reason="better")
    with pytest.raises(PreconditionFailed, match="generation 2, not 1"):
        registry.promote("odd", "production", 1, expected_generation=1)
    registry.promote("odd", "production", 1, reason="worse after all")
    assert [(s.generation, s.version, s.reason) for s in registry.history("odd", "production")] == [
        (3, 1, "worse after all"),
        (2, 2, "better"),
        (1, 1, "first"),
    ]
    assert registry.alias("odd", "production").generation == 3


def test_of_promotions_at_once_with_the_same_expectation_one_wins(registry: Registry) -> None:
    registry.publish("odd", *half_trained())

    def promote(_: int) -> bool:
        try:
            registry.promote("odd", "production", 1, expected_generation=0)
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(promote, range(32))) == 1
    assert len(registry.history("odd", "production")) == 1


def test_promotions_at_once_without_expectation_all_stand_in_the_log(registry: Registry) -> None:
    registry.publish("odd", *half_trained())
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: registry.promote("odd", "production", 1), range(8)))
    assert [state.generation for state in registry.history("odd", "production")] == list(range(8, 0, -1))


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "another"])
def test_damaged_weights_are_neither_loaded_nor_promoted(damage: str, registry: Registry, store: Store) -> None:
    registry.publish("odd", *half_trained())
    weights = "models/odd/1/weights.npz"
    content = store.get(weights)
    if damage == "missing":
        store.delete(weights)
    else:
        broken = {"flipped": content[:500] + b"!" + content[501:], "truncated": content[:-1]}
        store.put(weights, broken.get(damage, half_trained(seed=9)[0]))
    with pytest.raises(CorruptModel):
        registry.load("odd", 1)
    with pytest.raises(CorruptModel):
        registry.promote("odd", "production", 1)
    assert registry.history("odd", "production") == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}"])
def test_a_damaged_manifest_is_told_as_such(content: bytes, registry: Registry, store: Store) -> None:
    registry.publish("odd", *half_trained())
    store.put("models/odd/1/manifest.json", content)
    with pytest.raises(CorruptModel):
        registry.manifest("odd", 1)


def test_a_damaged_manifest_does_not_hide_the_other_versions(registry: Registry, store: Store) -> None:
    for seed in (1, 2):
        registry.publish("odd", *half_trained(seed=seed))
    store.put("models/odd/1/manifest.json", b"{")
    assert [manifest.version for manifest in registry.manifests("odd")] == [2]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"version": 1}'])
def test_a_damaged_entry_of_an_alias_is_told_as_such(content: bytes, registry: Registry, store: Store) -> None:
    registry.publish("odd", *half_trained())
    registry.promote("odd", "production", 1)
    (entry,) = store.list("models/odd/aliases/production")
    store.put(entry, content)
    with pytest.raises(CorruptModel, match="generation 1"):
        registry.alias("odd", "production")
    registry.promote("odd", "production", 1, reason="mended")
    assert registry.alias("odd", "production").generation == 2
    assert [state.reason for state in registry.history("odd", "production")] == ["mended"]


def test_a_damaged_last_entry_hides_neither_the_model_nor_the_way_back(registry: Registry, store: Store) -> None:
    for seed in (1, 2):
        registry.publish("odd", *half_trained(seed=seed))
        registry.promote("odd", "production", seed)
    store.put("models/odd/aliases/production/00000002.json", b"rotten")
    assert [(state.alias, state.version) for state in registry.aliases("odd")] == [("production", 1)]
    back = registry.roll_back("odd", "production")
    assert (back.version, back.generation) == (1, 3)
    with pytest.raises(Conflict):
        registry.roll_back("odd", "production")


def test_weights_that_do_not_fit_their_manifest_are_not_published(registry: Registry) -> None:
    weights, details = half_trained()
    with pytest.raises(CorruptModel):
        registry.publish("odd", weights + b" ", details)
    with pytest.raises(CorruptModel, match="10 outputs"):
        registry.publish("odd", weights, details | {"labels": ["a", "b", "c"]})
    with pytest.raises(NotFound):
        registry.manifests("odd")


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "a b", "x" * 64, "-a"])
def test_names_that_could_be_paths_are_refused(name: str, registry: Registry) -> None:
    with pytest.raises(UnprocessableContent):
        registry.publish(name, *half_trained())
    with pytest.raises(UnprocessableContent):
        registry.manifest(name, 1)


def test_released_models_are_adopted_once_and_what_users_promoted_stays(registry: Registry) -> None:
    install_bundled_models(registry, "production")
    released = registry.alias("mnist", "production")
    registry.publish("mnist", *half_trained())
    newest = registry.manifests("mnist")[-1].version
    registry.promote("mnist", "production", newest)
    before = registry.manifests("mnist")
    install_bundled_models(registry, "production")
    assert registry.manifests("mnist") == before
    assert registry.alias("mnist", "production").version == newest != released.version


def test_the_released_models_are_what_their_manifests_say() -> None:
    for folder in models_dir().glob("*/*"):
        manifest = json.loads((folder / "manifest.json").read_text())
        from hashlib import sha256

        assert sha256((folder / "weights.npz").read_bytes()).hexdigest() == manifest["weights_sha256"]


def test_endless_rivals_end_in_a_conflict(registry: Registry, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.publish("odd", *half_trained())
    registry.promote("odd", "production", 1)
    monkeypatch.setattr(store, "list", lambda _: [])  # as if each look came before a rival's write
    with pytest.raises(Conflict):
        registry.promote("odd", "production", 1)


def test_bundled_models_that_several_threads_install_leave_no_gap_in_the_numbers(registry: Registry) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: install_bundled_models(registry, "production", "fast"), range(4)))
    assert [manifest.version for manifest in registry.manifests("fast")] == [1]
