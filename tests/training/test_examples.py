"""The examples run and reach what they promise, and the plain network computes what the library computes."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import MLP, FitConfig, MLPConfig, data
from training.random_streams import training_rng, weights_rng

EXAMPLES = Path(__file__).parents[2] / "examples"
SCORES: dict[str, Any] = {
    "plain_mlp": 0.9,
    "regression": 0.98,
    "multi_label": 0.93,
    "own_loop": 0.9,
    "fine_tuning": (0.85, 0.75),
}
"""The least that each `main` returns."""


def example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


@pytest.mark.parametrize("name", SCORES)
def test_an_example_reaches_what_it_promises(name: str) -> None:
    reached = example(name)["main"]()
    assert np.all(np.array(reached) > SCORES[name]), reached


def test_the_plain_network_is_the_library_s_to_a_millionth() -> None:
    digits = data.load_dataset("starter").train
    x, labels = digits.images[:2000].reshape(-1, 784) / 255, digits.labels[:2000]
    plain = example("plain_mlp")["train"](x, labels, 3, weights_rng(0), training_rng(0))
    network = MLP(MLPConfig((784, 128, 64, 10)), 0, np.float64)
    network.fit(x, labels, FitConfig(epochs=3, batch_size=128, learning_rate=0.001))
    arrays = [array for layer in plain for array in layer]
    for mine, (name, theirs) in zip(arrays, network.state_dict().items(), strict=True):
        assert np.abs(mine - theirs).max() < 1e-6, name
    start = MLP(MLPConfig((784, 128, 64, 10)), 0, np.float64)
    assert np.abs(start.state_dict()["0.weight"] - network.state_dict()["0.weight"]).max() > 1e-2  # it has learned


def test_the_plain_network_fits_on_a_screen_or_two() -> None:
    assert 60 <= len((EXAMPLES / "plain_mlp.py").read_text().splitlines()) <= 80
