"""Old versions go, and never one that somebody needs, whoever promotes meanwhile."""

import subprocess
import sys

import pytest

from service.errors import Conflict, CorruptModel, NotFound
from service.registry.aliases import Candidate
from service.registry.bundled import install_bundled_models
from service.registry.registry import Registry
from service.registry.retention import PROTECTED_ENTRIES, expired_versions, prune, try_prune
from service.registry.store import Store
from service.registry.version_locks import hold_lock
from tests.service.conftest import half_trained


@pytest.fixture
def registry(store: Store) -> Registry:
    registry = Registry(store)
    for seed in range(6):
        registry.publish("odd", *half_trained(seed=seed))
    return registry


def numbers(registry: Registry) -> list[int]:
    return [manifest.version for manifest in registry.manifests("odd")]


def test_the_newest_stay_and_the_older_ones_go_whole(registry: Registry, store: Store) -> None:
    assert expired_versions(registry, "odd", keep=2) == [1, 2, 3, 4]
    assert numbers(registry) == [1, 2, 3, 4, 5, 6]
    assert prune(registry, "odd", keep=2) == [1, 2, 3, 4]
    assert numbers(registry) == [5, 6]
    assert {key.split("/")[2] for key in store.list("models/odd")} == {"5", "6"}
    assert prune(registry, "odd", keep=2) == []
    assert registry.publish("odd", *half_trained(seed=9)).version == 7


def test_what_an_alias_means_or_meant_lately_or_tries_stays(registry: Registry) -> None:
    registry.promote("odd", "production", 1)
    registry.promote("odd", "production", 2)
    registry.promote("odd", "staging", 3, candidate=Candidate(4, 0.5, "shadow"))
    assert prune(registry, "odd", keep=1) == [5]
    registry.roll_back("odd", "production")
    assert registry.alias("odd", "production").version == 1


def test_what_an_alias_meant_long_ago_goes(registry: Registry) -> None:
    for version in [1, *[6] * (PROTECTED_ENTRIES - 1)]:
        registry.promote("odd", "production", version)
    assert 1 not in expired_versions(registry, "odd", keep=1)
    registry.promote("odd", "production", 6)
    assert 1 in expired_versions(registry, "odd", keep=1)


def test_released_versions_stay(registry: Registry) -> None:
    install_bundled_models(registry, "production")
    for seed in range(3):
        registry.publish("mnist", *half_trained(seed=seed))
        registry.promote("mnist", "production", 4 if seed == 2 else 1)
    assert 1 not in expired_versions(registry, "mnist", keep=1)


def test_nothing_goes_while_nobody_knows_what_an_alias_means(registry: Registry, store: Store) -> None:
    registry.promote("odd", "production", 1)
    store.put("models/odd/aliases/production/00000001.json", b"rotten")
    with pytest.raises(CorruptModel):
        prune(registry, "odd", keep=1)
    try_prune(registry, "odd", keep=1)
    assert numbers(registry) == [1, 2, 3, 4, 5, 6]


def test_a_version_with_a_damaged_manifest_is_left_for_somebody_to_look_at(registry: Registry, store: Store) -> None:
    store.put("models/odd/1/manifest.json", b"rotten")
    assert prune(registry, "odd", keep=1) == [2, 3, 4, 5]
    assert store.exists("models/odd/1/weights.npz")


def test_a_version_that_somebody_is_promoting_stays(registry: Registry, store: Store) -> None:
    with hold_lock(store, "models/odd/1", "promoting"):
        assert prune(registry, "odd", keep=5) == []
    assert prune(registry, "odd", keep=5) == [1]


def test_a_version_that_somebody_is_deleting_is_not_promoted(registry: Registry, store: Store) -> None:
    with hold_lock(store, "models/odd/1", "deleting"), pytest.raises(Conflict, match="being deleted"):
        registry.promote("odd", "production", 1)
    assert registry.history("odd", "production") == []
    assert registry.promote("odd", "production", 1).version == 1


def test_the_claim_of_a_process_that_died_counts_for_an_hour_only(registry: Registry, store: Store) -> None:
    store.create("models/odd/1/deleting/1700000000-00", b"")
    store.create("models/odd/1/promoting/1700000000-00", b"")
    assert registry.promote("odd", "production", 1).version == 1
    store.create("models/odd/2/promoting/1700000000-00", b"")
    assert 2 in prune(registry, "odd", keep=1)


def test_a_deletion_that_was_cut_off_is_finished_by_the_next_one(registry: Registry, store: Store) -> None:
    store.create("models/odd/1/deleting/1700000000-00", b"")
    store.delete("models/odd/1/manifest.json")  # here the process died
    with pytest.raises(NotFound):
        registry.load("odd", 1)
    assert prune(registry, "odd", keep=6) == []
    assert store.list("models/odd/1") == []


PROMOTE = """
import sys
from service.errors import Conflict, NotFound
from service.registry.registry import Registry
from service.registry.store import open_store
registry = Registry(open_store(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for version in range(12, 0, -1):
    try:
        registry.promote("odd", f"alias-{version}", version)
        print(version)
    except (Conflict, NotFound):
        continue
"""


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(3))
def test_promotions_of_another_process_and_a_collection_never_leave_an_alias_without_its_version(
    round_: int, location: str, store: Store
) -> None:
    registry = Registry(store)
    for seed in range(13):
        registry.publish("odd", *half_trained(seed=seed))
    start = [sys.executable, "-c", PROMOTE, location]
    with subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as promoter:
        assert promoter.stdin
        assert promoter.stdout
        assert promoter.stdout.readline() == "ready\n"
        promoter.stdin.write("go\n")
        promoter.stdin.flush()
        gone = prune(registry, "odd", keep=1 + round_)
        promoted = [int(line) for line in promoter.stdout.read().split()]
        assert promoter.wait() == 0
    assert not set(gone) & set(promoted)
    for version in promoted:
        assert registry.load("odd", registry.alias("odd", f"alias-{version}").version).manifest.version == version
    assert len(registry.alias_names("odd")) == len(promoted)
