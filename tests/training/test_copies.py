"""Networks and what belongs to them can be pickled and copied, and a copy is as good as the original."""

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from training import MLP, Epoch, FitConfig, MLPConfig, TrainingState, data, fit, recipes, train
from training.fit.optim import OPTIMIZERS
from training.nn.layers import Layer, Residual
from training.types import Floats, Labels

BODIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no biases": {"bias": False},
    "batch norm": {"batch_norm": True},
    "residual": {"layers": (6, 6, 6, 3), "residual": True, "batch_norm": True, "dropout": 0.1},
}


def pickled(protocol: int) -> Callable[[Any], Any]:
    return lambda original: pickle.loads(pickle.dumps(original, protocol))  # noqa: S301 -- our own bytes


WAYS: dict[str, Callable[[Any], Any]] = {"copy": copy.copy, "deepcopy": copy.deepcopy} | {
    f"pickle {protocol}": pickled(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
}


@pytest.fixture
def examples(rng: np.random.Generator) -> tuple[Floats, Labels]:
    x = rng.normal(size=(90, 6)).astype(np.float32)
    return x, x[:, :3].argmax(axis=1)


def learning(layers: list[Layer]) -> list[Floats]:
    """List what training changes, through residual blocks."""
    found = []
    for layer in layers:
        if isinstance(layer, Residual):
            found += learning(list(layer.layers))
        else:
            found += [array for name, array in layer.state_dict().items() if name not in ("mean", "variance")]
    return found


def assert_whole(network: MLP) -> None:
    parts = learning(network.layers)
    assert sum(part.size for part in parts) == len(network.parameters)
    for part in parts:
        assert np.shares_memory(part, network.parameters)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("body", BODIES)
def test_a_copied_network_learns_and_leaves_the_original_alone(
    way: str, body: str, examples: tuple[Floats, Labels]
) -> None:
    network = MLP(MLPConfig(**{"layers": (6, 8, 3)} | BODIES[body]), 3)
    fit(network, *examples, FitConfig(epochs=1))
    network.author = "someone"  # type: ignore[attr-defined]  # an attribute of the caller's
    before = {name: array.copy() for name, array in network.state_dict().items()}
    answers = network.predict(examples[0])
    twin = WAYS[way](network)
    assert_whole(network)
    assert_whole(twin)
    assert twin.config == network.config
    assert twin.author == "someone"
    np.testing.assert_array_equal(twin.predict(examples[0]), answers)
    fit(twin, *examples, FitConfig(epochs=1, learning_rate=0.01))
    assert (twin.predict(examples[0]) != answers).any()
    for name, array in network.state_dict().items():
        assert array.tobytes() == before[name].tobytes(), name


def test_a_copy_trains_as_the_original_would(examples: tuple[Floats, Labels]) -> None:
    network = MLP(MLPConfig((6, 8, 3), batch_norm=True), 3, np.float64)
    twin = copy.deepcopy(network)
    x, y = examples
    for each in (network, twin):
        fit(each, x.astype(np.float64), y, FitConfig(epochs=2, optimizer="sgd", optimizer_options={"momentum": 0.9}))
    assert twin.parameters.tobytes() == network.parameters.tobytes()


def trained(network: MLP, x: Floats, y: Labels) -> tuple[MLP, list[Epoch]]:
    """Train a network that came from another process, and send it back."""
    return network, fit(network, x, y, FitConfig(epochs=2, learning_rate=0.01))


def test_a_network_is_trained_in_another_process(examples: tuple[Floats, Labels]) -> None:
    network = MLP(MLPConfig((6, 8, 3)), 3)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        there, history = pool.submit(trained, network, *examples).result(timeout=300)
    assert_whole(there)
    here, _ = trained(network, *examples)
    np.testing.assert_allclose(there.parameters, here.parameters, rtol=1e-5)
    assert len(history) == 2


def test_joblib_keeps_a_network(examples: tuple[Floats, Labels], tmp_path: Any) -> None:
    joblib = pytest.importorskip("joblib", reason="joblib is not installed; it goes through pickle")
    network = MLP(MLPConfig((6, 8, 3)), 3)
    joblib.dump(network, tmp_path / "network.joblib")
    twin = joblib.load(tmp_path / "network.joblib")
    assert_whole(twin)
    np.testing.assert_array_equal(twin.predict(examples[0]), network.predict(examples[0]))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_copied_run_goes_on_where_the_original_would(optimizer: str, examples: tuple[Floats, Labels]) -> None:
    config = FitConfig(epochs=3, optimizer=optimizer)
    run = TrainingState.start(MLP(MLPConfig((6, 8, 3)), 3), config)
    next(train(run, examples, config))
    twins = [copy.deepcopy(run), pickle.loads(pickle.dumps(run))]  # noqa: S301 -- our own bytes
    list(train(run, examples, config))
    for twin in twins:
        assert twin.step < run.step
        list(train(twin, examples, config))
        assert twin.network.parameters.tobytes() == run.network.parameters.tobytes()
        for name, array in run.optimizer.state.items():
            assert array.tobytes() == twin.optimizer.state[name].tobytes()


@pytest.mark.parametrize("way", WAYS)
def test_configs_recipes_and_data_are_copied(way: str) -> None:
    recipe = recipes.get("starter").replace(class_weights={0: 2.0}, augment="shift", augment_options={"max_shift": 1})
    for original in (recipe, recipe.fit, recipe.network, recipe.data, FitConfig()):
        twin = WAYS[way](original)
        assert twin == original
        assert hash(twin) == hash(original)
        with pytest.raises(FrozenInstanceError):
            twin.epochs = 3
    digits = data.load_dataset("starter").train
    assert WAYS[way](digits).fingerprint() == digits.fingerprint()


def test_configs_are_keys_and_do_not_follow_the_dictionary_they_were_made_from() -> None:
    options = {"momentum": 0.9, "nesterov": True}
    config = FitConfig(optimizer="sgd", optimizer_options=options)
    same = FitConfig(optimizer="sgd", optimizer_options={"nesterov": True, "momentum": 0.9})
    assert {config: 1}[same] == 1
    options["momentum"] = 0.1
    assert config == same
    assert len({FitConfig(), FitConfig(seed=1), config}) == 3
