"""How a new version is held against the serving one."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.jobs.evaluation import golden_set
from service.jobs.gate import Comparison, GatePolicy, compare, decide_promotion, load_decision, mcnemar
from service.jobs.job import JobRequest
from service.jobs.leakage import exclude_seen
from service.registry.registry import Registry
from service.registry.store import open_store
from training import MLP, Dataset, Experiment, recipes
from training.data import published_sets
from training.export.npz import to_bytes

REQUEST = JobRequest("starter", {"epochs": 2, "layers": [784, 32, 10]}, "odd", "if_better")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(open_store(str(tmp_path / "store")))


@pytest.fixture(scope="module")
def trained() -> tuple[MLP, dict[str, Any]]:
    """A network of the request's recipe, and its manifest."""
    experiment = Experiment(recipes.get("starter").replace(**REQUEST.settings))
    for _ in experiment.epochs():
        pass
    return experiment.network, experiment._manifest()


def publish(registry: Registry, network: MLP, details: dict[str, Any]) -> int:
    weights = to_bytes(network)
    return registry.publish("odd", weights, details | {"weights_sha256": sha256(weights).hexdigest()}).version


def changed(network: MLP, column: int, by: float) -> MLP:
    """The same network, more or less inclined to a class."""
    copy = MLP(network.config)
    copy.parameters[:] = network.parameters
    copy.state_dict()["2.bias"][column] += by
    return copy


def held(registry: Registry, **rules: Any) -> Comparison:
    return compare(registry, 1, REQUEST, 2, GatePolicy(**rules))


def test_of_equal_versions_the_new_one_takes_over_and_of_worse_ones_not(
    registry: Registry, trained: tuple[MLP, dict[str, Any]]
) -> None:
    network, details = trained
    publish(registry, network, details)
    publish(registry, network, details)
    same = held(registry)
    assert same.passes
    assert (same.metrics["gained"], same.metrics["lost"], same.metrics["mcnemar_p"]) == (0, 0, 1.0)
    assert same.metrics["examples"] == 1000
    assert same.metrics["doubt"] is None
    assert "on 1,000 held-out examples" in same.reason
    publish(registry, changed(network, 1, 1.0), details)
    worse = compare(registry, 1, REQUEST, 3, GatePolicy())
    assert not worse.passes
    assert worse.metrics["lost"] > worse.metrics["gained"]
    assert worse.reason.startswith("not as good")


def test_a_version_that_loses_a_typical_digit_is_rejected(
    registry: Registry, trained: tuple[MLP, dict[str, Any]]
) -> None:
    network, details = trained
    publish(registry, network, details)
    publish(registry, changed(network, 8, -100.0), details)
    lost = held(registry)
    assert not lost.passes
    assert lost.metrics["golden_lost"] == ["8"]
    assert lost.reason.startswith("it misreads typical digits that the serving version reads (8): ")


def test_a_version_that_is_too_slow_is_rejected_also_as_the_first(
    registry: Registry, trained: tuple[MLP, dict[str, Any]]
) -> None:
    publish(registry, *trained)
    slow = compare(registry, None, REQUEST, 1, GatePolicy(max_predict_ms=1e-6))
    assert not slow.passes
    assert "too slow" in slow.reason
    first = compare(registry, None, REQUEST, 1, GatePolicy())
    assert (first.passes, first.reason) == (True, "the first version of its model")


def test_a_version_with_other_labels_is_not_compared(registry: Registry, trained: tuple[MLP, dict[str, Any]]) -> None:
    network, details = trained
    publish(registry, network, details)
    publish(registry, network, details | {"labels": list("abcdefghij")})
    assert held(registry).reason == "it has other labels than version 1"


def test_examples_that_the_serving_version_learned_from_are_left_out_as_its_manifest_tells(
    registry: Registry, trained: tuple[MLP, dict[str, Any]]
) -> None:
    network, details = trained
    other = recipes.get("starter").replace(**REQUEST.settings | {"split_seed": 7})
    experiment = Experiment(other)
    for _ in experiment.epochs():
        pass
    publish(registry, experiment.network, experiment._manifest())
    publish(registry, network, details)
    fair = held(registry)
    assert fair.metrics["doubt"] is None
    # A fifth of the fifth that is held out here was held out there, too.
    assert 120 < fair.metrics["examples"] < 280


def test_where_it_cannot_be_told_all_are_compared_and_the_reason_says_so(
    registry: Registry, trained: tuple[MLP, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, details = trained
    monkeypatch.setattr(published_sets, "find_folder", lambda _: None)  # a host without MNIST
    for unknown in (
        {name: value for name, value in details.items() if name != "settings"},
        details | {"settings": details["settings"] | {"data": "mnist"}},
        details | {"data": details["data"] | {"fingerprint": "of another set"}},
    ):
        old = publish(registry, network, unknown)
        new = publish(registry, network, details)
        found = compare(registry, old, REQUEST, new, GatePolicy())
        assert found.passes
        assert found.metrics["examples"] == 1000
        assert found.reason.endswith(f"; version {old} may have learned from some of them")


def test_what_an_ancestor_has_learned_from_is_not_unseen(
    registry: Registry, trained: tuple[MLP, dict[str, Any]], digits: Dataset
) -> None:
    network, details = trained
    publish(registry, network, details)
    child = publish(registry, network, details | {"settings": details["settings"] | {"start_from": "odd version 1"}})
    orphan = publish(registry, network, details | {"settings": details["settings"] | {"start_from": "odd version 9"}})
    kept = exclude_seen(digits, registry, registry.manifest("odd", child), None)
    assert kept is not None
    assert len(kept) == 1000
    assert exclude_seen(digits, registry, registry.manifest("odd", orphan), None) is None


def test_teachers_of_other_examples_leave_unknown_what_was_learned(
    registry: Registry, trained: tuple[MLP, dict[str, Any]], digits: Dataset
) -> None:
    network, details = trained
    for fingerprint, known in ((details["data"]["fingerprint"], True), ("of others", False), (None, False)):
        teachers = [{"name": "fast/1", "weights_sha256": "", "fingerprint": fingerprint}]
        version = publish(registry, network, details | {"data": details["data"] | {"teachers": teachers}})
        assert (exclude_seen(digits, registry, registry.manifest("odd", version), None) is not None) == known


def test_the_verdict_is_kept_beside_the_version_also_of_a_rejected_one(
    registry: Registry, trained: tuple[MLP, dict[str, Any]]
) -> None:
    network, details = trained
    for version in (network, changed(network, 1, 1.0)):
        decide_promotion(registry, "production", REQUEST, publish(registry, version, details))
    first, second = (load_decision(registry, "odd", version) for version in (1, 2))
    assert first is not None
    assert second is not None
    assert (first["promoted"], second["promoted"]) == (True, False)
    assert second["reason"].startswith("not as good")
    assert second["figures"]["against"] == 1
    assert load_decision(registry, "odd", 3) is None
    decide_promotion(registry, "production", REQUEST, 1)  # again, after a cut
    assert load_decision(registry, "odd", 1) == first


@pytest.mark.parametrize(("gained", "lost", "p"), [(0, 0, 1.0), (5, 5, 1.0), (10, 0, 2 / 1024), (1, 9, 22 / 1024)])
def test_mcnemar_gives_the_exact_binomial_probability(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == mcnemar(lost, gained) == pytest.approx(p)
    assert 0 < mcnemar(600, 500) < 0.01


def test_golden_digits_are_one_typical_digit_of_each_class() -> None:
    golden = golden_set()
    assert golden.labels.tolist() == list(range(10))
    released = Path(__file__).parents[2] / "models" / "mnist" / "1" / "weights.npz"
    from training import load

    network = load(released)
    probabilities = network.predict(network.config.input.to_features(golden.images))
    assert (probabilities.argmax(axis=1) == np.arange(10)).all()
    assert (probabilities.max(axis=1) > 0.99).all()
