import pytest

from service.jobs.gate import decide_promotion
from service.jobs.job import JobRequest
from service.registry.aliases import AliasEntry
from service.registry.registry import Registry
from service.registry.store import Store
from tests.service.conftest import half_trained

REQUEST = JobRequest("starter", {}, "odd", "if_better")


@pytest.fixture
def registry(store: Store) -> Registry:
    registry = Registry(store)
    for seed in (1, 2, 3):
        registry.publish("odd", *half_trained(seed=seed))
    return registry


def test_the_first_version_of_a_model_is_promoted_and_judging_again_changes_nothing(registry: Registry) -> None:
    for _ in range(2):
        verdict = decide_promotion(registry, "production", REQUEST, 1)
        assert verdict.promoted
        assert verdict.state(REQUEST) == "succeeded"
    assert len(registry.history("odd", "production")) == 1


def test_of_two_versions_the_better_one_serves(registry: Registry) -> None:
    registry.promote("odd", "production", 1)
    second = decide_promotion(registry, "production", REQUEST, 2)
    assert second.reason is not None
    assert second.promoted is second.reason.startswith("at least as good")
    assert registry.alias("odd", "production").version == (2 if second.promoted else 1)


def test_never_means_never_and_always_asks_nothing(registry: Registry) -> None:
    never = JobRequest("starter", {}, "odd", "never")
    assert decide_promotion(registry, "production", never, 1).state(never) == "succeeded"
    assert registry.history("odd", "production") == []
    assert decide_promotion(registry, "production", JobRequest("starter", {}, "odd", "always"), 1).promoted


def test_a_damaged_last_entry_of_the_alias_does_not_keep_jobs_from_promoting(registry: Registry, store: Store) -> None:
    for version in (1, 3):
        registry.promote("odd", "production", version)
    store.put("models/odd/aliases/production/00000002.json", b"rotten")
    assert decide_promotion(registry, "production", JobRequest("starter", {}, "odd", "always"), 2).promoted
    assert [state.version for state in registry.history("odd", "production")] == [2, 1]
    assert registry.alias("odd", "production").generation == 3


def test_a_promotion_made_during_the_comparison_is_not_overwritten_unseen(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody promotes version 3 between the look and the write: the gate looks again before it writes."""
    registry.promote("odd", "production", 1)
    looks: list[int] = []
    look = registry.history

    def look_and_be_overtaken(name: str, alias: str, limit: int | None = None) -> list[AliasEntry]:
        states = look(name, alias, limit)
        looks.append(states[0].version)
        if len(looks) == 1:
            registry.promote("odd", "production", 3, reason="by hand")
        return states

    monkeypatch.setattr(registry, "history", look_and_be_overtaken)
    decide_promotion(registry, "production", JobRequest("starter", {}, "odd", "always"), 2)
    assert looks == [1, 3]
    assert [state.version for state in look("odd", "production")] == [2, 3, 1]
